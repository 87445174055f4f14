"""Interval schedules: elapsed time between runs, in whole seconds; no wall clock."""

import re
from datetime import timedelta
from typing import NoReturn

from scheduler.errors import ScheduleError
from scheduler.schedule.wording import foreign_character, quoted

SHORTEST = timedelta(seconds=1)
LONGEST = timedelta(days=3653)
"""Ten years."""

_LONGEST_TEXT = 64
_PLAIN = re.compile(
    r"(?:(?P<days>\d+)d)?\s*(?:(?P<hours>\d+)h)?\s*"
    r"(?:(?P<minutes>\d+)m)?\s*(?:(?P<seconds>\d+)s)?",
    re.ASCII | re.IGNORECASE,
)
_ISO = re.compile(
    r"P(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?=\d)(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?",
    re.ASCII | re.IGNORECASE,
)
_FORM = "write like '1d 2h 30m 15s' or 'P1DT2H30M15S'"
_RANGE = f"write an interval from 1s to {LONGEST.days}d"
_NO_LENGTH = "counts months or years, which have no fixed length; write days, or type cron"
_MISTAKES = [
    (r"-|[P\dDHMST ]*-\d", f"is negative; {_RANGE}"),
    (r"[*@]|(\S+\s+){4}\S+$", "looks like cron; write type cron, or an interval like 1h 30m"),
    (r"[\dDHMS ]*\d$", "has a number without unit; write s, m, h or d behind it, like 90s"),
    (r"P[^T]*\d[YM]|\d+ ?(y|mo)", _NO_LENGTH),
    (r".*\d[.,]\d", "is not in whole seconds; write whole numbers, like 1h 30m"),
    (r"\d+ ?w", "counts weeks; write them in days, 7d for one"),
    (r"P\d+[HS]|P.*T.*D", f"has its T in the wrong place, it goes before the hours; {_FORM}"),
    (r"(\d+[dhms]\s*)+$", "has a unit twice or out of order; write d, h, m, s in this order"),
    (r"(\d+\s*[dhms][\s,]*)+$", "has a blank or comma too many; write like 1d 2h 30m"),
    (r"(\d+ *[a-z]+[\s,]*)+$", "has other units; write d, h, m or s right behind each number"),
]
"""How texts that are no interval begin, and what to say of them."""


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
        _fail(text, _complaint(text[: _LONGEST_TEXT + 1]))
    seconds = _seconds(parts)
    if not SHORTEST.total_seconds() <= seconds <= LONGEST.total_seconds():
        _fail(text, f"is out of range; {_RANGE} (10 years)")
    return timedelta(seconds=seconds)


def _seconds(parts: dict[str, int]) -> int:
    units = {"weeks": 604_800, "days": 86_400, "hours": 3_600, "minutes": 60, "seconds": 1}
    return sum(count * units[unit] for unit, count in parts.items())


def _complaint(text: str) -> str:
    """What is wrong with a text that is no interval, and what to write."""
    foreign = foreign_character(text)
    if foreign is not None:
        return f"cannot be read; {foreign}"
    if len(text) <= _LONGEST_TEXT:
        for beginning, complaint in _MISTAKES:
            if re.match(beginning, text, re.ASCII | re.IGNORECASE):
                return complaint
    return f"is no interval; {_FORM}"


def _fail(text: str, complaint: str) -> NoReturn:
    raise ScheduleError("expression", "invalid_interval", f"{quoted(text)} {complaint}")
