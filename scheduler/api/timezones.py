"""The use case behind `timezones`: every zone, its offset now, and its next clock change."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from scheduler.api.faults import did_you_mean
from scheduler.clock import Clock
from scheduler.errors import InvalidRequest
from scheduler.schedule.transitions import Change, next_change
from scheduler.schedule.triggers import describe_run
from scheduler.schedule.zones import ZONES, tzdata_version

OTHER = "Other"
_AHEAD = timedelta(days=731)
_KEPT = timedelta(hours=1)


def region_of(zone: str) -> str:
    """What stands before the first `/`; `Other` for a name without one."""
    return zone.partition("/")[0] if "/" in zone else OTHER


@dataclass(frozen=True, slots=True)
class _Table:
    """Every zone as it is shown; right with made ≤ now < until."""

    made: datetime
    until: datetime
    zones: tuple[dict[str, Any], ...]


class Timezones:
    """The zones; what is worked out is kept for an hour, or until a zone changes its clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._table: _Table | None = None
        self._making = asyncio.Lock()

    async def list(self, query: Mapping[str, str]) -> dict[str, Any]:
        """The zones by region; `region` and `search` (part of the name, any case) filter.

        Raises:
            InvalidRequest: there is no such region.
        """
        region, wanted = _region(query), _folded(query.get("search", ""))
        found = [
            zone
            for zone in await self._zones()
            if region in (None, region_of(zone["timezone"])) and wanted in _folded(zone["timezone"])
        ]
        grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for zone in found:
            grouped[region_of(zone["timezone"])].append(zone)
        return {
            "message": "1 time zone" if len(found) == 1 else f"{len(found)} time zones",
            "timezones": grouped,
            "count": len(found),
            "tzdata": tzdata_version(),
        }

    async def _zones(self) -> tuple[dict[str, Any], ...]:
        async with self._making:
            now, table = self._clock.now(), self._table
            if table is None or not table.made <= now < table.until:
                table = self._table = await _table(now)
            return table.zones


async def _table(now: datetime) -> _Table:
    until, shown = now + _KEPT, []
    for zone in sorted(ZONES, key=_order):
        await asyncio.sleep(0)  # Looking for changes costs about a millisecond a zone.
        change = next_change(zone, now, now + _AHEAD)
        if change is not None:
            until = min(until, change.at)
        shown.append(_zone(zone, now, change))
    return _Table(now, until, tuple(shown))


def _order(zone: str) -> tuple[bool, str]:
    return region_of(zone) == OTHER, zone


def _zone(zone: str, now: datetime, change: Change | None) -> dict[str, Any]:
    current = describe_run(now, zone)
    return {
        "timezone": zone,
        "offset": current["offset"],
        "abbreviation": current["abbreviation"],
        "next_change": None if change is None else _change(zone, change),
    }


def _change(zone: str, change: Change) -> dict[str, str]:
    after = describe_run(change.at, zone)
    before = change.at.astimezone(timezone(change.before))
    return {
        "utc": after["utc"],
        "local_before": before.isoformat(),
        "local_after": after["local"],
        "offset_before": before.strftime("%:z"),
        "offset_after": after["offset"],
        "abbreviation_after": after["abbreviation"],
    }


def _region(query: Mapping[str, str]) -> str | None:
    name = query.get("region")
    if name is None:
        return None
    regions = {region_of(zone).casefold(): region_of(zone) for zone in ZONES}
    region = regions.get(name.strip().casefold())
    if region is None:
        raise InvalidRequest.of("", "unknown_region", _no_region(name, regions.values()))
    return region


def _no_region(name: str, regions: Iterable[str]) -> str:
    known = sorted(regions)
    hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
    return f"there is no region {name[:64]!r}{hint}"


def _folded(text: str) -> str:
    """`new york` finds `America/New_York`."""
    return text.strip().casefold().replace(" ", "_")
