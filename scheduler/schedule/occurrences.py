"""The runs of a cron expression in a zone: wall clock matches mapped to instants.

A wildcard job follows the clock through both passes of an overlap and has no runs in a gap. A job
with fixed times has one run for each wall time: the first of two, or the first after a gap.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from scheduler.errors import ScheduleError
from scheduler.schedule.cron import Cron
from scheduler.schedule.transitions import (
    FIRST_YEAR,
    LAST_YEAR,
    SECOND,
    Change,
    next_change,
    offset_at,
    overlap_end,
    resolve_wall,
    wall_at,
)

LONGEST_PAUSE = timedelta(days=2922)
"""Eight years: a series whose next run would be further away has ended."""


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One run: its instant (UTC), the wall time that asked for it (naive), and whether that wall
    time lies in a gap (the change) or is the first of two."""

    instant: datetime
    wall: datetime
    gap: Change | None = None
    repeated: bool = False


def occurrences(cron: Cron, timezone: str, after: datetime) -> Iterator[Occurrence]:
    """The runs strictly after an aware instant, in order, each instant once.

    The series ends before a pause of over 8 years. `timezone` is a canonical name.

    Raises:
        ScheduleError: `after` is naive or outside the years 1900 to 9900.
    """
    start = whole_second(after)
    return _every_pass(cron, timezone, start) if cron.wildcard else _once(cron, timezone, start)


def whole_second(instant: datetime) -> datetime:
    """The last whole second not after an aware instant, in UTC.

    Raises:
        ScheduleError: it is naive or outside the years 1900 to 9900.
    """
    if instant.tzinfo is None or not FIRST_YEAR <= instant.year <= LAST_YEAR:
        message = f"write an instant with an offset, in the years {FIRST_YEAR} to {LAST_YEAR}"
        raise ScheduleError("after", "invalid_schedule", message)
    return instant.astimezone(UTC).replace(microsecond=0)


def _every_pass(cron: Cron, timezone: str, after: datetime) -> Iterator[Occurrence]:
    since, offset = after, offset_at(timezone, after)
    wall = wall_at(timezone, after)
    limit = after + LONGEST_PAUSE
    while True:
        found = cron.next_wall(wall)
        instant = limit if found is None else (found - offset).replace(tzinfo=UTC)
        change = next_change(timezone, since, min(instant, limit))
        if change is not None:
            since, offset, wall = change.at, change.after, change.wall_after - SECOND
        elif found is None or instant > limit:
            return
        else:
            yield Occurrence(instant, found)
            since, wall, limit = instant, found, instant + LONGEST_PAUSE


def _once(cron: Cron, timezone: str, after: datetime) -> Iterator[Occurrence]:
    end = overlap_end(timezone, after)
    wall = wall_at(timezone, after) if end is None else end - SECOND
    last = after
    while (found := cron.next_wall(wall)) is not None:
        run = resolve_wall(timezone, found)
        if run.instant > last + LONGEST_PAUSE:
            return
        if run.instant > last:
            last = run.instant
            yield Occurrence(run.instant, found, run.gap, run.repeated)
        # All that falls into one gap is one run: go on at its end.
        wall = found if run.gap is None else max(found, run.gap.wall_after - SECOND)
