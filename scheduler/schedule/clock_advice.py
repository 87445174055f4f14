"""What the coming clock changes of a zone do to a schedule's runs."""

from collections.abc import Iterator
from datetime import datetime, time, timedelta
from itertools import islice

from scheduler.jobs.model import Schedule, ScheduleType
from scheduler.jobs.notice import Notice
from scheduler.schedule import fields
from scheduler.schedule.cron import Cron
from scheduler.schedule.cron_text import read_cron
from scheduler.schedule.description import WEEKDAYS, clock
from scheduler.schedule.interval import parse_interval
from scheduler.schedule.transitions import SECOND, Change, next_change, resolve_wall, wall_at
from scheduler.schedule.triggers import instants, next_instant, preview

AHEAD = timedelta(days=365)
"""Clock changes further away are not told."""
_DAY, _WEEK = timedelta(days=1), timedelta(days=7)
_MOST_WALLS = 100
_PAIR = 2


def clock_advice(schedule: Schedule, timezone: str, now: datetime) -> Iterator[Notice]:
    """Each clock change within a year that touches a run; an interval has its anchor."""
    if schedule.type is ScheduleType.ONCE:
        for run in preview(schedule, timezone, now, 1):
            if "reason" in run:
                yield Notice("/expression", "clock_change", run["reason"])
        return
    for change in _changes(timezone, now):
        message = (
            _drift(schedule, timezone, change)
            if schedule.type is ScheduleType.INTERVAL
            else _touched(schedule, timezone, change, now)
        )
        if message is None:
            continue
        if schedule.type is ScheduleType.INTERVAL:
            yield Notice("/expression", "interval_drifts", message)
            return
        yield Notice("/expression", "clock_change", message)


def _changes(timezone: str, now: datetime) -> Iterator[Change]:
    after, until = now, now + AHEAD
    while (change := next_change(timezone, after, until)) is not None:
        yield change
        after = change.at


def _touched(schedule: Schedule, timezone: str, change: Change, now: datetime) -> str | None:
    cron = Cron.parse(schedule.expression)
    if change.after < change.before:
        repeated = _doubled if cron.wildcard else _repeated
        return repeated(schedule, timezone, change, now)
    walls = _walls(cron, change.wall_before, change.wall_after)
    if not walls:
        return None
    if cron.wildcard:
        return _day_without_runs(schedule, timezone, change)
    return _moved(schedule, timezone, change, len(walls) + _natural(cron, change))


def _walls(cron: Cron, first: datetime, end: datetime) -> list[datetime]:
    """The wall times with first ≤ wall < end that a run is asked for."""
    walls: list[datetime] = []
    wall = cron.next_wall(first - SECOND)
    while wall is not None and wall < end and len(walls) < _MOST_WALLS:
        walls.append(wall)
        wall = cron.next_wall(wall)
    return walls


def _natural(cron: Cron, change: Change) -> int:
    """1 when a run is asked for at the very end of the gap, too."""
    return int(cron.next_wall(change.wall_after - SECOND) == change.wall_after)


def _moved(schedule: Schedule, timezone: str, change: Change, asked: int) -> str | None:
    for run in preview(schedule, timezone, change.at - SECOND, 1):
        if run["adjusted"]:
            merged = f", one run in place of {asked}" if asked > 1 else ""
            return run["reason"] + merged
    return None


def _repeated(schedule: Schedule, timezone: str, change: Change, now: datetime) -> str | None:
    """A job of fixed times that runs in the first pass, of which some is still to come."""
    after = max(change.at - (change.before - change.after) - SECOND, now)
    count = _count(schedule, timezone, after, change.at - SECOND)
    if not count:
        return None
    first = preview(schedule, timezone, after, 1)[0]
    others = "" if count == 1 else "; so does 1 more run"
    if count > _PAIR:
        others = f"; so do {count - 1} more runs"
    return first["reason"] + others if "reason" in first else None


def _doubled(schedule: Schedule, timezone: str, change: Change, now: datetime) -> str | None:
    """A job that follows the clock through both passes, and is not to run in every hour."""
    if read_cron(schedule.expression).hours == fields.HOUR.whole():
        return None
    length = change.before - change.after
    begin, end = change.at - length - SECOND, change.at + length - SECOND
    first = _count(schedule, timezone, max(begin, now), change.at - SECOND)
    again = _count(schedule, timezone, change.at - SECOND, end)
    if not first or not again:
        return None
    last = change.wall_before - timedelta(minutes=1)
    asked = _count(schedule, timezone, begin, change.at - SECOND)
    runs = "in both" if asked == _MOST_WALLS else f"{asked + again} times, not {asked}"
    if asked + again == _PAIR:
        runs = "twice"
    return (
        f"{change.wall_after:%H:%M} to {last:%H:%M} comes twice on {change.wall_after:%Y-%m-%d} "
        f"in {timezone}: it runs {runs}; write a list in place of * to run once for each time"
    )


def _count(schedule: Schedule, timezone: str, after: datetime, until: datetime) -> int:
    """How many runs there are with after < run ≤ until; at most 100 are counted."""
    return sum(1 for _ in islice(instants(schedule, timezone, after, until), _MOST_WALLS))


def _day_without_runs(schedule: Schedule, timezone: str, change: Change) -> str | None:
    """A job that follows the clock and has no run at all on the day of a gap."""
    day = change.wall_before.date()
    first = resolve_wall(timezone, datetime.combine(day, time())).instant
    end = resolve_wall(timezone, datetime.combine(day + _DAY, time())).instant
    start, stop = schedule.start_at, schedule.end_at
    within = (start is None or start <= first) and (stop is None or change.at < stop)
    if not within or any(instants(schedule, timezone, first - SECOND, end - SECOND)):
        return None
    last = change.wall_after - timedelta(minutes=1)
    missing = f"{change.wall_before:%H:%M} to {last:%H:%M} does not exist"
    return f"{missing} on {day} in {timezone}: no run on that day"


def _drift(schedule: Schedule, timezone: str, change: Change) -> str | None:
    interval = parse_interval(schedule.expression)
    if interval % _DAY:
        return None
    run = next_instant(schedule, timezone, change.at - SECOND)
    if run is None:
        return None
    now_at = wall_at(timezone, run)
    before = (now_at - change.after + change.before).replace(tzinfo=None)
    shown = clock(now_at.hour, now_at.minute, now_at.second)
    asked = clock(before.hour, before.minute, before.second)
    remedy = "a cron expression keeps the time of day"
    if interval in (_DAY, _WEEK):
        remedy = f"to keep {asked}, write the cron expression '{_cron_of(before, interval)}'"
    return (
        f"an interval is elapsed time: after the clock change on {change.wall_before:%Y-%m-%d} "
        f"in {timezone} it runs at {shown} in place of {asked}; {remedy}"
    )


def _cron_of(wall: datetime, interval: timedelta) -> str:
    second = f"{wall.second} " if wall.second else ""
    weekday = WEEKDAYS[wall.isoweekday() % 7][:3].upper() if interval == _WEEK else "*"
    return f"{second}{wall.minute} {wall.hour} * * {weekday}"
