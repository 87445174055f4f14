"""Clock changes of a zone, and the way from wall clock time to instants.

`zoneinfo` tells the offset at an instant and nothing about when it changes. Changes are found by
sampling and bisection, year by year, and remembered. No two changes of any zone since 1900 lie
closer together than 6.9 days, so samples three days apart miss none.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

SECOND = timedelta(seconds=1)
FIRST_YEAR = 1900
LAST_YEAR = 9900
_SAMPLE = timedelta(days=3)


@dataclass(frozen=True, slots=True)
class Change:
    """A zone's clock change: the first instant (UTC) of the new offset, and both offsets."""

    at: datetime
    before: timedelta
    after: timedelta

    @property
    def wall_before(self) -> datetime:
        """What the clock would have shown at `at` without the change; naive."""
        return _naive(self.at, self.before)

    @property
    def wall_after(self) -> datetime:
        """What the clock shows at `at`; naive."""
        return _naive(self.at, self.after)


@dataclass(frozen=True, slots=True)
class Resolved:
    """The instant (UTC) of a wall time; `gap` when the wall time does not exist and was moved to
    the gap's end, `repeated` when it exists twice and this is the first."""

    instant: datetime
    gap: Change | None = None
    repeated: bool = False


def offset_at(timezone: str, instant: datetime) -> timedelta:
    """The zone's offset from UTC at an instant."""
    return _offset(ZoneInfo(timezone), instant)


def wall_at(timezone: str, instant: datetime) -> datetime:
    """What the zone's clock shows at an instant; naive."""
    return instant.astimezone(ZoneInfo(timezone)).replace(tzinfo=None, fold=0)


def resolve_wall(timezone: str, wall: datetime) -> Resolved:
    """The one instant of a naive wall time: the first of two, or the first after a gap."""
    zone = ZoneInfo(timezone)
    before = _wall_offset(zone, wall, fold=0)
    after = _wall_offset(zone, wall, fold=1)
    if before >= after:
        return Resolved(_instant(wall, before), repeated=before > after)
    gap = _change_between(zone, _instant(wall, after), _instant(wall, before))
    return Resolved(gap.at, gap=gap)


def overlap_end(timezone: str, instant: datetime) -> datetime | None:
    """When `instant` lies in the second pass of an overlap: the naive wall time at which the
    overlap ends; else None."""
    zone = ZoneInfo(timezone)
    local = instant.astimezone(zone)
    if not local.fold:
        return None
    first_pass = _instant(local.replace(tzinfo=None), _wall_offset(zone, local, fold=0))
    return _change_between(zone, first_pass, instant).wall_before


def next_change(timezone: str, after: datetime, until: datetime) -> Change | None:
    """The first change of the zone's offset with after < at ≤ until, both aware."""
    for year in range(after.astimezone(UTC).year, until.astimezone(UTC).year + 1):
        changes = _changes_of_year(timezone, year)
        place = bisect_right(changes, after, key=_at)
        if place < len(changes):
            return changes[place] if changes[place].at <= until else None
    return None


@lru_cache(maxsize=8192)
def _changes_of_year(timezone: str, year: int) -> tuple[Change, ...]:
    return tuple(_changes(ZoneInfo(timezone), year))


def _changes(zone: ZoneInfo, year: int) -> Iterator[Change]:
    low, end = datetime(year, 1, 1, tzinfo=UTC) - SECOND, datetime(year + 1, 1, 1, tzinfo=UTC)
    end -= SECOND
    while low < end:
        high = min(low + _SAMPLE, end)
        if _offset(zone, low) != _offset(zone, high):
            yield _change_between(zone, low, high)
        low = high


def _change_between(zone: ZoneInfo, low: datetime, high: datetime) -> Change:
    before = _offset(zone, low)
    first, last = 0, int((high - low).total_seconds())
    while last - first > 1:
        middle = (first + last) // 2
        if _offset(zone, low + middle * SECOND) == before:
            first = middle
        else:
            last = middle
    at = low + last * SECOND
    return Change(at, before, _offset(zone, at))


def _offset(zone: ZoneInfo, instant: datetime) -> timedelta:
    offset = instant.astimezone(zone).utcoffset()
    assert offset is not None
    return offset


def _wall_offset(zone: ZoneInfo, wall: datetime, *, fold: int) -> timedelta:
    offset = wall.replace(tzinfo=zone, fold=fold).utcoffset()
    assert offset is not None
    return offset


def _instant(wall: datetime, offset: timedelta) -> datetime:
    return (wall - offset).replace(tzinfo=UTC, fold=0)


def _naive(instant: datetime, offset: timedelta) -> datetime:
    return instant.replace(tzinfo=None) + offset


def _at(change: Change) -> datetime:
    return change.at
