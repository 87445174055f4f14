"""Cron expressions, read once and matched on naive wall clock time; zones are not known here.

The author's text is read by `scheduler.schedule.fields`; croniter matches the plain values. It is
handed each of the day rules by itself and always told to require all fields (`day_or=False`),
so that the choice between "both" and "either" of the day fields is made in one place, here.
"""

import copy
import difflib
import re
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import NoReturn

from croniter import CroniterBadDateError, croniter

from scheduler.errors import ScheduleError
from scheduler.schedule import fields
from scheduler.schedule.interval import parse_interval
from scheduler.schedule.wording import foreign_character, quoted

LONGEST_EXPRESSION = 256
YEARS_BETWEEN_RUNS = 8
"""A series ends when no run follows within this many years of the previous one."""

MACROS = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
_NO_MACROS = {
    "@midnight": "write @daily",
    "@annually": "write @yearly",
    "@every": "write a schedule of type interval, with an expression like 5m",
    "@reboot": "nothing restarts here: write a time, or run the job by hand",
}
_FIELDS = "write 5 (minute hour day-of-month month day-of-week), or 6 with a leading second"
_LONGEST_MONTH = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


@dataclass(frozen=True, slots=True)
class Cron:
    """A cron expression that was read; equal expressions are equal.

    `wildcard` tells a job that follows the clock's every pass (its minute or hour field begins with
    `*`) from one with fixed times. `patterns` are the day rules, any of which makes a match.
    """

    expression: str
    wildcard: bool
    patterns: tuple[str, ...]
    _matchers: tuple[croniter, ...] = field(repr=False, compare=False)

    @staticmethod
    def parse(expression: str) -> "Cron":
        """Reads 5 fields, 6 with leading seconds, or a macro such as `@daily`.

        Raises:
            ScheduleError: `invalid_cron`; which field, what was found, what to write instead.
        """
        return _parse(expression)

    def next_wall(self, after: datetime) -> datetime | None:
        """The first matching wall time after `after`, both naive; None when 8 years have none."""
        found = [wall for matcher in self._matchers if (wall := _next(matcher, after)) is not None]
        return min(found, default=None)


def _next(matcher: croniter, after: datetime) -> datetime | None:
    # A croniter keeps its place: each call works on a copy, so that one Cron serves all threads.
    own = copy.copy(matcher)
    try:
        wall: datetime = own.get_next(datetime, start_time=after)
    except CroniterBadDateError:
        return None
    return wall


@lru_cache(maxsize=4096)
def _parse(expression: str) -> Cron:
    texts = split_fields(expression)
    second = texts[0] if len(texts) == 6 else None
    minute, hour, day, month, weekday = texts[-5:]
    spans = [(fields.MINUTE, minute), (fields.HOUR, hour), (fields.MONTH, month)]
    minutes, hours, months = (fields.parse_numbers(spec, text) for spec, text in spans)
    tail = "" if second is None else " " + _text(fields.SECOND, second)
    patterns = tuple(
        f"{_list(fields.MINUTE, minutes)} {_list(fields.HOUR, hours)} {days} "
        f"{_list(fields.MONTH, months)} {weekdays}{tail}"
        for days, weekdays in _day_rules(day, weekday, month)
    )
    wildcard = minute.startswith("*") or hour.startswith("*")
    return Cron(expression, wildcard, patterns, tuple(map(_matcher, patterns)))


def _matcher(pattern: str) -> croniter:
    return croniter(
        pattern,
        start_time=datetime(2000, 1, 1),
        day_or=False,
        max_years_between_matches=YEARS_BETWEEN_RUNS,
    )


def split_fields(expression: str) -> list[str]:
    """The texts of the fields, 5 or 6; those that a macro stands for.

    Raises:
        ScheduleError: `invalid_cron`: too long, no such macro, or another number of fields.
    """
    if len(expression) > LONGEST_EXPRESSION:
        _refuse(
            f"the expression has {len(expression)} characters; the longest allowed is "
            f"{LONGEST_EXPRESSION}: write ranges and steps in place of long lists"
        )
    texts = re.findall(r"\S+", expression, re.ASCII)
    if not texts:
        _refuse(f"the expression is empty; {_FIELDS}, like '30 2 * * *'")
    if texts[0].startswith("@"):
        return _macro(texts).split()
    if re.match(r"(CRON_)?TZ=", texts[0]):
        _refuse(f"{quoted(texts[0])}: the zone is the job's field timezone; take this out")
    if len(texts) == 7:
        _refuse("7 fields found: there is no year field; use start_at and end_at to bound the runs")
    if len(texts) not in {5, 6}:
        _refuse_count(expression, len(texts))
    return texts


def _refuse_count(expression: str, found: int) -> NoReturn:
    advice = foreign_character(expression)
    if advice is not None:
        _refuse(f"{quoted(expression)} cannot be read; {advice}")
    _refuse(f"{found} field{'s' * (found > 1)} found; {_FIELDS}{_other_type(expression)}")


def _other_type(expression: str) -> str:
    try:
        parse_interval(expression)
    except ScheduleError:
        return ""
    return f"; {quoted(expression)} looks like an interval: write type interval"


def _macro(texts: list[str]) -> str:
    word = texts[0].lower()
    if word in _NO_MACROS:
        _refuse(f"'{word}' is not known; {_NO_MACROS[word]}")
    known = MACROS.get(word)
    if known is None:
        near = difflib.get_close_matches(word, MACROS, n=1)
        remedy = f"write one of {', '.join(MACROS)}, or 5 fields"
        _refuse(f"{quoted(texts[0])} is not known; {f'write {near[0]}' if near else remedy}")
    if len(texts) > 1:
        _refuse(f"{word} stands alone; take out {quoted(' '.join(texts[1:]))}")
    return known


def _day_rules(day: str, weekday: str, month: str) -> list[tuple[str, str]]:
    days, weekdays = fields.parse_days(day), fields.parse_weekdays(weekday)
    months = fields.parse_numbers(fields.MONTH, month)
    day_texts = [_days_text(days)] if _occurs(days, months) else []
    weekday_texts = _weekday_texts(weekdays)
    if day.startswith("*") or weekday.startswith("*"):
        rules = [(left, right) for left in day_texts for right in weekday_texts]
    else:
        rules = [(left, "*") for left in day_texts] + [("*", right) for right in weekday_texts]
    if not rules:
        _refuse(
            f"day-of-month: {quoted(day)} never comes in month {quoted(month)}; "
            "write a day that the month has, or L for its last day"
        )
    return rules


def _occurs(days: fields.Days, months: frozenset[int]) -> bool:
    longest = max(_LONGEST_MONTH.get(month, 31) for month in months)
    return days.last or min(days.numbers) <= longest


def _days_text(days: fields.Days) -> str:
    numbers = _list(fields.DAY, days.numbers)
    if not days.last or numbers == "*":
        return numbers
    return f"{numbers},l" if numbers else "l"


def _weekday_texts(weekdays: fields.Weekdays) -> list[str]:
    numbers = _list(fields.WEEKDAY, weekdays.numbers)
    nths = ",".join(f"{day}#{nth}" for day, nth in sorted(weekdays.nths))
    return [text for text in (numbers, nths) if text]


def _text(spec: fields.Field, text: str) -> str:
    return _list(spec, fields.parse_numbers(spec, text))


def _list(spec: fields.Field, values: frozenset[int]) -> str:
    return "*" if values == spec.whole() else ",".join(map(str, sorted(values)))


def _refuse(message: str) -> NoReturn:
    raise ScheduleError("expression", "invalid_cron", message)
