"""From a job's schedule to the instants of its runs: cron, interval or once, within its bounds.

All instants are nominal: aware, UTC, whole seconds. `timezone` is a canonical name. Jitter is added
when a run is made due, and never moves its nominal instant.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from typing import NoReturn, NotRequired, TypedDict, assert_never
from zoneinfo import ZoneInfo

from scheduler.errors import ScheduleError
from scheduler.jobs.model import Schedule, ScheduleType
from scheduler.schedule.cron import YEARS_BETWEEN_RUNS, Cron
from scheduler.schedule.interval import parse_interval
from scheduler.schedule.occurrences import Occurrence, occurrences, whole_second
from scheduler.schedule.once import resolve_once, resolve_time
from scheduler.schedule.transitions import LAST_YEAR, wall_at
from scheduler.schedule.zones import resolve_timezone

__all__ = [
    "RunPreview",
    "describe_run",
    "first_instant",
    "instants",
    "jittered",
    "next_instant",
    "parse_interval",
    "preview",
    "resolve_once",
    "validate_schedule",
]

_MOMENT = timedelta(microseconds=1)
_LAST = datetime(LAST_YEAR, 1, 1, tzinfo=UTC)


class RunPreview(TypedDict):
    """One coming run, as every reply shows it.

    `utc` and `local` are ISO 8601; `adjusted` tells that a clock change moved the wall time that
    was asked for, `reason` what a clock change has to do with this run.
    """

    utc: str
    local: str
    offset: str
    abbreviation: str
    adjusted: bool
    reason: NotRequired[str]


def first_instant(schedule: Schedule, timezone: str, now: datetime) -> datetime | None:
    """The first run of a job made at `now`, strictly after it; None when there is none.

    An interval without an anchor is anchored at `now`: its first run is one interval later.
    """
    if schedule.anchor is None:
        schedule = replace(schedule, anchor=now)
    return next_instant(schedule, timezone, now)


def next_instant(schedule: Schedule, timezone: str, after: datetime) -> datetime | None:
    """The first run strictly after an instant, with start_at ≤ run < end_at; None at the end."""
    run = next(_runs(schedule, timezone, after), None)
    return None if run is None else run.instant


def instants(
    schedule: Schedule, timezone: str, after: datetime, until: datetime
) -> Iterator[datetime]:
    """The runs with after < run ≤ until, in order."""
    for run in _runs(schedule, timezone, after):
        if run.instant > until:
            return
        yield run.instant


def preview(schedule: Schedule, timezone: str, after: datetime, count: int) -> list[RunPreview]:
    """The next runs strictly after an instant, at most `count`, with what clock changes do."""
    return [_shown(run, timezone) for run in islice(_runs(schedule, timezone, after), count)]


def describe_run(instant: datetime, timezone: str) -> RunPreview:
    """One run's instant on the zone's clock, taken as it is: never `adjusted`."""
    local = instant.astimezone(ZoneInfo(timezone))
    offset = local.strftime("%:z")
    return RunPreview(
        utc=_utc(instant),
        local=local.isoformat(),
        offset=offset,
        abbreviation=local.tzname() or offset,
        adjusted=False,
    )


def jittered(instant: datetime, execution_id: str, jitter_seconds: int) -> datetime:
    """When a run is due: 0 to `jitter_seconds` later, the same each time for one execution id."""
    if jitter_seconds <= 0:
        return instant
    digest = hashlib.sha256(execution_id.encode()).digest()
    return instant + timedelta(seconds=int.from_bytes(digest[:8]) % (jitter_seconds + 1))


def validate_schedule(schedule: Schedule, timezone: str, now: datetime | None = None) -> None:
    """Makes sure that a schedule can be computed; with `now`, that a run lies ahead of it too.

    Raises:
        ScheduleError: naming the field: `timezone`, `expression`, `anchor`, `start_at`, `end_at`.
    """
    zone = resolve_timezone(timezone)
    for field in ("anchor", "start_at", "end_at"):
        _check_instant(field, getattr(schedule, field))
    start, end = schedule.start_at, schedule.end_at
    if start is not None and end is not None and end <= start:
        raise ScheduleError("end_at", "invalid_schedule", "write an end_at later than start_at")
    match schedule.type:
        case ScheduleType.INTERVAL:
            parse_interval(schedule.expression)
        case ScheduleType.ONCE:
            _check_bounds(resolve_once(schedule.expression, zone).instant, schedule)
        case ScheduleType.CRON:
            Cron.parse(schedule.expression)
        case _:
            assert_never(schedule.type)
    if now is not None and first_instant(schedule, zone, now) is None:
        _refuse_series_without_a_run(schedule, zone, now)


def _check_instant(field: str, instant: datetime | None) -> None:
    if instant is None:
        return
    try:
        whole_second(instant)
    except ScheduleError as error:
        raise ScheduleError(field, "invalid_schedule", error.message) from None


def _check_bounds(instant: datetime, schedule: Schedule) -> None:
    start, end = schedule.start_at, schedule.end_at
    if (start is not None and instant < start) or (end is not None and instant >= end):
        message = f"{_utc(instant)} is not within start_at ≤ run < end_at; change one of them"
        raise ScheduleError("expression", "invalid_once", message)


def _refuse_series_without_a_run(schedule: Schedule, timezone: str, now: datetime) -> NoReturn:
    if schedule.type is ScheduleType.ONCE:
        passed = _utc(resolve_once(schedule.expression, timezone).instant)
        message = f"{passed} has passed; write a later time"
        raise ScheduleError("expression", "invalid_once", message)
    if first_instant(replace(schedule, end_at=None), timezone, now) is not None:
        message = "no run is left before end_at; write a later one"
        raise ScheduleError("end_at", "invalid_schedule", message)
    message = f"no run within {YEARS_BETWEEN_RUNS} years; write a date that comes more often"
    raise ScheduleError("expression", "invalid_cron", message)


def _runs(schedule: Schedule, timezone: str, after: datetime) -> Iterator[Occurrence]:
    start = after
    if schedule.start_at is not None:
        start = max(after, schedule.start_at - _MOMENT)
    for run in _unbounded(schedule, timezone, start):
        if schedule.end_at is not None and run.instant >= schedule.end_at:
            return
        if run.instant > start:
            yield run


def _unbounded(schedule: Schedule, timezone: str, after: datetime) -> Iterator[Occurrence]:
    match schedule.type:
        case ScheduleType.CRON:
            yield from occurrences(Cron.parse(schedule.expression), timezone, after)
        case ScheduleType.ONCE:
            run, wall = resolve_time(schedule.expression, timezone)
            asked = wall_at(timezone, run.instant) if wall is None else wall
            yield Occurrence(run.instant, asked, run.gap, run.repeated)
        case ScheduleType.INTERVAL:
            for instant in _steps(schedule, after):
                yield Occurrence(instant, wall_at(timezone, instant))
        case _:
            assert_never(schedule.type)


def _steps(schedule: Schedule, after: datetime) -> Iterator[datetime]:
    """anchor + k · interval for the k ≥ 0 whose instants lie strictly after `after`."""
    if schedule.anchor is None:
        raise ValueError("an interval schedule is stored with its anchor; this one has none")
    anchor, interval = whole_second(schedule.anchor), parse_interval(schedule.expression)
    first = max(0, (after - anchor) // interval + 1)
    for step in count(first):
        instant = anchor + step * interval
        if instant > _LAST:
            return
        yield instant


def _utc(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _shown(run: Occurrence, timezone: str) -> RunPreview:
    shown = describe_run(run.instant, timezone)
    asked, day = run.wall.strftime("%H:%M"), run.wall.strftime("%Y-%m-%d")
    if run.wall.second:
        asked = run.wall.strftime("%H:%M:%S")
    if run.gap is not None:
        local = wall_at(timezone, run.instant)
        runs_at = f"{local:%H:%M} {shown['abbreviation']}"
        if local.date() != run.wall.date():
            runs_at += f" on {local:%Y-%m-%d}"
        shown["adjusted"] = True
        shown["reason"] = f"{asked} does not exist on {day} in {timezone}; runs at {runs_at}"
    elif run.repeated:
        abbreviation = shown["abbreviation"]
        shown["reason"] = (
            f"{asked} comes twice on {day} in {timezone}; runs the first time, {abbreviation}"
        )
    return shown
