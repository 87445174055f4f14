"""Schedules of a single run: an ISO 8601 time, on the zone's clock unless it carries an offset."""

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from scheduler.errors import ScheduleError
from scheduler.schedule.transitions import FIRST_YEAR, LAST_YEAR, Resolved, resolve_wall

_TIME = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?(Z|z|[+-]\d\d(:?\d\d)?)?", re.ASCII
)
_LONGEST_TEXT = 64


class Once(NamedTuple):
    """The instant (UTC) of a single run, and whether a clock change moved it."""

    instant: datetime
    adjusted: bool


def resolve_once(expression: str, timezone: str) -> Once:
    """The instant that an ISO 8601 time names; a part of a second counts as a whole one.

    Raises:
        ScheduleError: `invalid_once`: not of the form, no such date, time or offset.
    """
    run, _ = resolve_time(expression, timezone)
    return Once(run.instant, run.gap is not None)


def resolve_time(expression: str, timezone: str) -> tuple[Resolved, datetime | None]:
    """The instant with what the clock did to it, and the naive wall time; None with an offset."""
    time = _parse(expression.strip())
    if time.tzinfo is None:
        return resolve_wall(timezone, time), time
    return Resolved(time.astimezone(UTC)), None


def _parse(text: str) -> datetime:
    shown = text[:_LONGEST_TEXT]
    if not _TIME.fullmatch(text):
        message = "write a date and time like 2027-03-14T02:30:00, or with an offset: ...+01:00"
        raise ScheduleError("expression", "invalid_once", f"'{shown}': {message}")
    try:
        time = datetime.fromisoformat(text.upper())
    except ValueError as error:
        message = f"'{shown}' names no moment: {error}"
        raise ScheduleError("expression", "invalid_once", message) from None
    if not FIRST_YEAR < time.year < LAST_YEAR:
        message = f"'{shown}': write a year between {FIRST_YEAR} and {LAST_YEAR}"
        raise ScheduleError("expression", "invalid_once", message)
    part = timedelta(microseconds=time.microsecond)
    return time + (timedelta(seconds=1) - part) if part else time
