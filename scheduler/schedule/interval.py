"""Interval schedules: elapsed time between runs, in whole seconds; no wall clock."""

import re
from datetime import timedelta
from typing import NoReturn

from scheduler.errors import ScheduleError

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=3653)
"""Ten years."""

_LONGEST_TEXT = 64
_PLAIN = re.compile(
    r"(?:(?P<days>\d{1,9})d)?\s*(?:(?P<hours>\d{1,9})h)?\s*"
    r"(?:(?P<minutes>\d{1,9})m)?\s*(?:(?P<seconds>\d{1,9})s)?",
    re.ASCII | re.IGNORECASE,
)
_ISO = re.compile(
    r"P(?:(?P<weeks>\d{1,9})W)?(?:(?P<days>\d{1,9})D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.ASCII | re.IGNORECASE,
)
_ISO_MONTHS = re.compile(r"P[^T]*\d[YM]", re.IGNORECASE)


def parse_interval(expression: str) -> timedelta:
    """Reads `1d 2h 30m 15s` (any of the parts, in this order) or an ISO 8601 duration (`P1DT2H`).

    Raises:
        ScheduleError: `invalid_interval`: not of either form, under 1 second, over 10 years.
    """
    text = expression.strip()
    found = None
    if len(text) <= _LONGEST_TEXT:
        found = _ISO.fullmatch(text) if text[:1] in {"P", "p"} else _PLAIN.fullmatch(text)
    parts = (
        {unit: int(count) for unit, count in found.groupdict().items() if count} if found else {}
    )
    if not parts:
        _refuse(text)
    seconds = _seconds(parts)
    if not SHORTEST.total_seconds() <= seconds <= LONGEST.total_seconds():
        _fail(f"'{text}' is out of range; write an interval from 1s to {LONGEST.days}d (10 years)")
    return timedelta(seconds=seconds)


def _seconds(parts: dict[str, int]) -> int:
    units = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
    return sum(count * units[unit] for unit, count in parts.items())


def _refuse(text: str) -> NoReturn:
    shown = text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}…"
    if text.startswith("-") or text[:2].upper() == "P-":
        _fail(f"'{shown}' is negative; write an interval from 1s to {LONGEST.days}d")
    if re.fullmatch(r"\d+", text, re.ASCII):
        _fail(f"'{shown}' has no unit; write {shown}s, {shown}m, {shown}h or {shown}d")
    if _ISO_MONTHS.match(text):
        _fail(f"'{shown}': months and years have no fixed length; write days, or a cron schedule")
    if re.search(r"\d[.,]\d", text):
        _fail(f"'{shown}' is not in whole seconds; write whole numbers, like 1h 30m")
    _fail(f"'{shown}' is no interval; write like '1d 2h 30m 15s' or 'P1DT2H30M15S'")


def _fail(message: str) -> NoReturn:
    raise ScheduleError("expression", "invalid_interval", message)
