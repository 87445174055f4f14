"""Schedules of a single run: an ISO 8601 time, on the zone's clock unless it carries an offset."""

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, NoReturn

from scheduler.errors import ScheduleError
from scheduler.schedule.transitions import FIRST_YEAR, LAST_YEAR, Resolved, resolve_wall
from scheduler.schedule.wording import foreign_character, quoted

_TIME = re.compile(
    r"(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)[Tt ](?P<hour>\d\d):(?P<minute>\d\d)"
    r"(:(?P<second>\d\d)([.,]\d{1,9})?)?"
    r"(Z|z|[+-](?P<offset_hours>\d\d)(:?(?P<offset_minutes>\d\d))?)?",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ZONE_BEHIND = re.compile(r"[\d-]{10}[Tt ][\d:.,]+ ?(?P<zone>\[?[A-Z][A-Za-z_/]+.*)", re.ASCII)
_FORM = "write a date and time like 2027-03-14T02:30:00, or with an offset: ...+01:00"
_GREATEST_OFFSET = 14


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
    found = _TIME.fullmatch(text)
    if found is None:
        _refuse(text, _advice(text))
    impossible = _impossible(found)
    if impossible is not None:
        _refuse(text, impossible)
    time = datetime.fromisoformat(text.upper())
    part = timedelta(microseconds=time.microsecond)
    return time + (timedelta(seconds=1) - part) if part else time


def impossible_time(text: str) -> str | None:
    """What a text of the right form names that no calendar or clock has, and what to write.

    None when there is such a time, or when the text is not of the form at all.
    """
    found = _TIME.fullmatch(text)
    why = None if found is None else _impossible(found)
    return None if why is None else f"{quoted(text)}: {why}"


def _impossible(found: re.Match[str]) -> str | None:
    numbers = {name: int(digits or 0) for name, digits in found.groupdict().items()}
    return _impossible_date(numbers) or _impossible_time(numbers)


def _advice(text: str) -> str:
    foreign, zone = foreign_character(text), _ZONE_BEHIND.fullmatch(text)
    if foreign is not None:
        return foreign
    if _DATE.fullmatch(text):
        return f"the time of day is missing; write like {text}T02:30:00"
    if zone is not None:
        return f"the zone is the job's field timezone; take out {quoted(zone['zone'])}"
    return _FORM


def _impossible_date(numbers: dict[str, int]) -> str | None:
    year, month, day = numbers["year"], numbers["month"], numbers["day"]
    if not FIRST_YEAR < year < LAST_YEAR:
        return f"write a year from {FIRST_YEAR + 1} to {LAST_YEAR - 1}"
    if not 1 <= month <= 12:
        return f"there is no month {month:02}; write one from 01 to 12"
    days = monthrange(year, month)[1]
    if not 1 <= day <= days:
        return f"{year}-{month:02} has no day {day:02}; write one from 01 to {days}"
    return None


def _impossible_time(numbers: dict[str, int]) -> str | None:
    if numbers["hour"] == 24:
        return "write T00:00 of the next day for midnight; hours go from 00 to 23"
    for unit, last in (("hour", 23), ("minute", 59), ("second", 59)):
        if numbers[unit] > last:
            return f"there is no {unit} {numbers[unit]:02}; write one from 00 to {last}"
    hours, minutes = numbers["offset_hours"], numbers["offset_minutes"]
    if minutes > 59 or hours * 60 + minutes > _GREATEST_OFFSET * 60:
        return "no clock has this offset; write one from -14:00 to +14:00, or leave it out"
    return None


def _refuse(text: str, why: str) -> NoReturn:
    raise ScheduleError("expression", "invalid_once", f"{quoted(text)}: {why}")
