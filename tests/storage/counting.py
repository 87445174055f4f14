"""A transport of the Azure SDK that counts the requests to storage, and what they read.

The emulator answers a query without key bounds as fast as one with them, so each filter is noted.
"""

import asyncio
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from azure.core.pipeline.transport import AioHttpTransport

from tests.storage.request_kinds import filter_of, kind_of

ONE_ROW = "$top=1"
"""What stands for the filter of a listing of one row, which needs none."""
_TEXT = r"'(?:[^']|'')*'"
_CHOICE = rf"\w+ eq {_TEXT}"
_BOUNDED = re.compile(
    rf"PartitionKey eq {_TEXT} and RowKey ge {_TEXT} and RowKey lt {_TEXT}"
    rf"(?: and \( {_CHOICE}(?: or {_CHOICE})* \))*",
    re.ASCII,
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
    shapes: Counter[str] = field(default_factory=Counter)
    """The queries by table and filter, with `?` for each value."""
    delay: float = 0

    def cost(self) -> Cost:
        """All so far; the difference of two of them is what was done between."""
        return Cost(self.requests.copy(), self.rows)

    def unbounded(self) -> list[str]:
        """The filters of the queries that are not bounded by one partition and two row keys.

        Columns may choose among the rows between these bounds.
        """
        bounded = (one == ONE_ROW or _BOUNDED.fullmatch(one) for one in self.filters)
        return [one for one, found in zip(self.filters, bounded, strict=True) if not found]

    def note_query(self, kind: str, text: str) -> None:
        """Notes the filter of a query, and its shape."""
        self.filters.append(text)
        self.shapes[f"{kind.removesuffix(' query')}: {re.sub(_TEXT, '?', text)}"] += 1


class CountingTransport(AioHttpTransport):  # type: ignore[misc]
    """The SDK's own transport, which counts."""

    def __init__(self, tally: Tally) -> None:
        super().__init__(use_env_settings=False)
        self._tally = tally

    async def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401
        """Sends one request, and counts it."""
        kind = kind_of(request)
        self._tally.requests[kind] += 1
        if self._tally.delay:
            await asyncio.sleep(self._tally.delay)
        response = await super().send(request, **options)
        if kind.endswith(" query"):
            self._tally.note_query(kind, _bounds_of(request))
            self._tally.rows += response.body().count(b'"RowKey":')
        return response


def _bounds_of(request: Any) -> str:  # noqa: ANN401
    """What a query is bounded by: its filter or, where it has none, that it asks for one row."""
    options = parse_qs(urlsplit(str(request.url)).query)
    return filter_of(request) or (ONE_ROW if options.get("$top") == ["1"] else "")
