"""What is legal in a schedule and may still not be what its author meant. No I/O.

Each warning has a stable code, told in `docs/errors.md`. Ordinary schedules get none, save for a
clock change that truly touches one of their runs.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice, pairwise

from scheduler.jobs.model import CatchUp, Schedule, ScheduleType
from scheduler.jobs.notice import Notice
from scheduler.schedule.clock_advice import clock_advice
from scheduler.schedule.cron_advice import cron_advice
from scheduler.schedule.description import duration_words, local_time
from scheduler.schedule.interval import parse_interval
from scheduler.schedule.once import resolve_once
from scheduler.schedule.plan import LATE_SECONDS
from scheduler.schedule.triggers import instants, next_instant

_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_RUNS_LOOKED_AT = 100
_WITHOUT_SUMMER = {
    "EST": "write America/New_York for the clock of New York",
    "MST": "write America/Denver, or America/Phoenix for a place without summer time",
    "HST": "write Pacific/Honolulu, which has none either",
}


def schedule_advice(schedule: Schedule, timezone: str, now: datetime) -> list[Notice]:
    """Warnings about a valid schedule as of `now`; pointers start at the schedule.

    An interval without an anchor counts from `now`, as that of a job made now would.
    """
    if schedule.type is ScheduleType.INTERVAL and schedule.anchor is None:
        schedule = replace(schedule, anchor=now)
    first = next_instant(schedule, timezone, now)
    if first is None:
        return [_nothing_left(schedule, timezone)]
    found = list(_of_one_run(schedule, timezone, first))
    if schedule.type is ScheduleType.CRON:
        found += cron_advice(schedule.expression)
    if schedule.type is ScheduleType.INTERVAL:
        found += _short_interval(schedule)
    found += clock_advice(schedule, timezone, now)
    found += _jitter(schedule, timezone, first)
    found += _catch_up(schedule)
    return found


def zone_advice(timezone: str) -> list[Notice]:
    """Warnings about a zone's canonical name alone; pointers start at the job."""
    place = _WITHOUT_SUMMER.get(timezone)
    if place is None:
        return []
    message = f"{timezone} has no summer time: it keeps one offset all year; {place}"
    return [Notice("/timezone", "no_summer_time", message)]


def _nothing_left(schedule: Schedule, timezone: str) -> Notice:
    if schedule.type is ScheduleType.ONCE:
        run = local_time(resolve_once(schedule.expression, timezone).instant, timezone)
        return Notice("/expression", "series_ends", f"no run is left: its only one was on {run}")
    if schedule.end_at is None:
        return Notice("/expression", "series_ends", "no run is left: none comes within 8 years")
    end = local_time(schedule.end_at, timezone)
    return Notice(
        "/end_at", "series_ends", f"no run is left before end_at, {end}; write a later one"
    )


def _of_one_run(schedule: Schedule, timezone: str, first: datetime) -> Iterator[Notice]:
    if schedule.end_at is None or schedule.type is ScheduleType.ONCE:
        return
    if next_instant(schedule, timezone, first) is None:
        run = local_time(first, timezone)
        yield Notice("/end_at", "series_ends", f"end_at leaves one run, on {run}")


def _short_interval(schedule: Schedule) -> Iterator[Notice]:
    interval = parse_interval(schedule.expression)
    if interval < _MINUTE:
        pace = "every second" if interval.seconds == 1 else f"every {interval.seconds} seconds"
        message = f"runs {pace}, {_DAY // interval:,} runs a day; write 1m for one run a minute"
        yield Notice("/expression", "runs_very_often", message)


def _jitter(schedule: Schedule, timezone: str, first: datetime) -> Iterator[Notice]:
    """Compares jitter with the shortest time between the runs of a day."""
    if not schedule.jitter_seconds:
        return
    coming = instants(schedule, timezone, first, first + _DAY)
    runs = [first, *islice(coming, _RUNS_LOOKED_AT)]
    shortest = min((later - run for run, later in pairwise(runs)), default=None)
    if shortest is not None and shortest.total_seconds() <= schedule.jitter_seconds:
        message = (
            f"jitter_seconds reaches the next run, {duration_words(shortest)} later: "
            f"the two may start together; write less than {int(shortest.total_seconds())}"
        )
        yield Notice("/jitter_seconds", "jitter_too_long", message)


def _catch_up(schedule: Schedule) -> Iterator[Notice]:
    late = LATE_SECONDS + schedule.jitter_seconds
    if schedule.catch_up is not CatchUp.NONE and schedule.catch_up_window_seconds <= late:
        message = (
            f"catch_up_window_seconds is too short to make up for any run: one counts as missed "
            f"when it is over {late} seconds late; write more, or catch_up none"
        )
        yield Notice("/catch_up_window_seconds", "catch_up_window_too_short", message)
