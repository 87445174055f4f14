"""A transport of the Azure SDK that counts the requests to storage, and what they read.

The emulator answers a query without key bounds as fast as one with them, so each filter is noted.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from azure.core.pipeline.transport import AioHttpTransport

from tests.storage.request_kinds import filter_of, kind_of

_TEXT = r"'(?:[^']|'')*'"
_BOUNDED = re.compile(
    rf"PartitionKey eq {_TEXT} and RowKey ge {_TEXT} and RowKey lt {_TEXT}", re.ASCII
)


@dataclass(frozen=True)
class Cost:
    """Requests by kind, and how many rows the queries among them read."""

    requests: Counter[str]
    rows: int

    @property
    def operations(self) -> int:
        """All requests: what the service bills."""
        return self.requests.total()

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(self.requests - other.requests, self.rows - other.rows)


@dataclass
class Tally:
    """What the transports that share it have counted so far.

    Each request first waits `delay` seconds.
    """

    requests: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    filters: list[str] = field(default_factory=list)
    delay: float = 0

    def cost(self) -> Cost:
        """All so far; the difference of two of them is what was done between."""
        return Cost(self.requests.copy(), self.rows)

    def unbounded(self) -> list[str]:
        """The filters of the queries that are not bounded by one partition and two row keys."""
        return [one for one in self.filters if _BOUNDED.fullmatch(one) is None]


class CountingTransport(AioHttpTransport):  # type: ignore[misc]
    """The SDK's own transport, which counts."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    async def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401
        """Sends one request, and counts it."""
        kind = kind_of(request)
        self._tally.requests[kind] += 1
        if self._tally.delay:
            await asyncio.sleep(self._tally.delay)
        response = await super().send(request, **options)
        if kind.endswith(" query"):
            self._tally.filters.append(filter_of(request))
            self._tally.rows += response.body().count(b'"RowKey":')
        return response
