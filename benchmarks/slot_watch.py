"""Watches a zone's slots and waiters from outside, by the times that storage itself gives them."""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import Any

from azure.data.tables.aio import TableClient

_PAUSE_SECONDS = 0.05
_COLUMNS = ["PartitionKey", "RowKey", "execution_id", "Timestamp"]


@dataclass
class SlotWatch:
    """`granted`: execution id → when it got its slot; `parked`: row key → when it was parked.

    `held`: each look's moment (`time.monotonic`), slots held, runs parked.
    """

    granted: dict[str, datetime] = field(default_factory=dict)
    parked: dict[str, datetime] = field(default_factory=dict)
    held: list[tuple[float, int, int]] = field(default_factory=list)

    async def watch(self, connection_string: str, table: str, queue: str) -> None:
        """Looks until it is cancelled; slots each time, waiters where there may be new ones."""
        async with TableClient.from_connection_string(connection_string, table) as client:
            while True:
                slots = await _rows(client, queue, "slot:", "slot;")
                waits = await _rows(client, queue, "wait:", "wait;")
                self.held.append((monotonic(), len(slots), len(waits)))
                for row in slots:
                    self.granted.setdefault(str(row["execution_id"]), row.metadata["timestamp"])
                for row in waits:
                    self.parked.setdefault(str(row["RowKey"]), row.metadata["timestamp"])
                await asyncio.sleep(_PAUSE_SECONDS)

    @property
    def most_held(self) -> int:
        """The most slots that were held at one look."""
        return max((slots for _, slots, _ in self.held), default=0)

    def use(self, slots: int) -> float | None:
        """The mean share of the slots that were held while somebody waited; None: nobody did."""
        area = seconds = 0.0
        for (at, held, waiting), (then, _, _) in zip(self.held, self.held[1:], strict=False):
            if waiting:
                area += held * (then - at)
                seconds += then - at
        return area / (slots * seconds) if seconds else None

    def overtaken(self) -> list[int]:
        """For each parked run: how many that were parked before it, in line before it, got a slot
        only after it."""
        line = [(key, key.split(":", 2)[2], at) for key, at in sorted(self.parked.items())]
        passed = []
        for place, (_, execution_id, _) in enumerate(line):
            granted = self.granted.get(execution_id)
            if granted is None:
                continue
            passed.append(
                sum(
                    parked < granted and (self.granted.get(other) or granted) > granted
                    for _, other, parked in line[:place]
                )
            )
        return passed


async def _rows(client: TableClient, queue: str, start: str, end: str) -> list[Any]:
    entities = client.query_entities(
        "PartitionKey eq @queue and RowKey ge @start and RowKey lt @end",
        parameters={"queue": queue, "start": start, "end": end},
        select=_COLUMNS,
    )
    return [entity async for entity in entities]
