"""The fields of a cron expression: their text as sets of values; errors say what to write.

Values are kept as the author meant them: `a-a` is `a`, `22-2` goes on past the field's end, a step
without a range (`5/15`) runs to the end, Sunday is 0 and 7.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from scheduler.errors import ScheduleError

_ITEM = re.compile(r"(?P<low>[^-/]+)(?:-(?P<high>[^-/]+))?(?:/(?P<step>.*))?", re.ASCII)
_NUMBER = re.compile(r"\d{1,4}", re.ASCII)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


@dataclass(frozen=True, slots=True)
class Field:
    """One of cron's fields: its name, its least and greatest value, its words."""

    name: str
    low: int
    high: int
    words: Mapping[str, int] = field(default_factory=dict)
    size: int = 0

    def whole(self) -> frozenset[int]:
        """Every value."""
        return frozenset(range(self.low, self.low + self._size))

    @property
    def _size(self) -> int:
        return self.size or self.high - self.low + 1

    def wrap(self, value: int) -> int:
        """The value, counted on from the field's start when past its end."""
        return (value - self.low) % self._size + self.low


SECOND = Field("second", 0, 59)
MINUTE = Field("minute", 0, 59)
HOUR = Field("hour", 0, 23)
DAY = Field("day-of-month", 1, 31)
MONTH = Field("month", 1, 12, {word: place + 1 for place, word in enumerate(_MONTHS)})
WEEKDAY = Field("day-of-week", 0, 7, {word: place for place, word in enumerate(_WEEKDAYS)}, size=7)


@dataclass(frozen=True, slots=True)
class Days:
    """Days of the month: numbers, and whether its last day is one of them."""

    numbers: frozenset[int]
    last: bool


@dataclass(frozen=True, slots=True)
class Weekdays:
    """Days of the week, 0 (Sunday) to 6, and those of one week of the month: (weekday, 1-5)."""

    numbers: frozenset[int]
    nths: frozenset[tuple[int, int]]


def parse_numbers(spec: Field, text: str) -> frozenset[int]:
    """The values of a field's text.

    Raises:
        ScheduleError: `invalid_cron`, naming the field, what was found and what to write instead.
    """
    return frozenset().union(*(_range(spec, item) for item in _items(spec, text)))


def parse_days(text: str) -> Days:
    """The day-of-month field: numbers and `L`. Raises like `parse_numbers`."""
    items = _items(DAY, text)
    numbers = [_range(DAY, item) for item in items if item != "l"]
    return Days(frozenset().union(*numbers), "l" in items)


def parse_weekdays(text: str) -> Weekdays:
    """The day-of-week field: numbers, names and `#`. Raises like `parse_numbers`."""
    numbers: frozenset[int] = frozenset()
    nths: set[tuple[int, int]] = set()
    for item in _items(WEEKDAY, text):
        day, mark, nth = item.partition("#")
        if not mark:
            numbers |= _range(WEEKDAY, item)
        elif nth not in {"1", "2", "3", "4", "5"} or not re.fullmatch(r"\w+", day, re.ASCII):
            refuse(WEEKDAY, item, "write a day and a week of the month from 1 to 5, like MON#1")
        else:
            nths.add((_value(WEEKDAY, day, item) % 7, int(nth)))
    return Weekdays(numbers, frozenset(nths))


def refuse(spec: Field, found: str, remedy: str) -> NoReturn:
    """Raises the error for what was found in a field."""
    raise ScheduleError(
        "expression", "invalid_cron", f"{spec.name}: '{found.upper()}' cannot be read; {remedy}"
    )


def _items(spec: Field, text: str) -> list[str]:
    items = text.lower().split(",")
    if "" in items:
        refuse(spec, text, "an item of its list is empty: take out the extra comma")
    for item in items:
        _refuse_foreign(spec, item)
    return items


def _refuse_foreign(spec: Field, item: str) -> None:
    word = item.rstrip("0123456789").lstrip("0123456789")
    if "?" in item:
        refuse(spec, item, "write '*' instead")
    if re.match(r"[hr](\(|/|$)", item):
        refuse(spec, item, "write a fixed value; jitter_seconds spreads the load of many jobs")
    if word in {"w", "lw", "wl"}:
        remedy = "write a day from 1 to 31, or MON-FRI in day-of-week for every weekday"
        refuse(spec, item, remedy)
    if spec is WEEKDAY and (item.startswith("l") or item.endswith("l")):
        remedy = "write SAT for Saturday; L means the last day of the month, in day-of-month only"
        if item != "l":
            remedy = "write FRI#4 for the fourth Friday; a month's last weekday has no notation"
        refuse(spec, item, remedy)
    if "l" in item.split("-") and item != "l":
        refuse(spec, item, "write L by itself, or as an item of a list like 15,L")


def _range(spec: Field, item: str) -> frozenset[int]:
    match = _ITEM.fullmatch(item)
    if match is None:
        refuse(spec, item, _expected(spec))
    low, high, step = match["low"], match["high"], _step(spec, match["step"], item)
    if low == "*":
        if high is not None:
            refuse(spec, item, _expected(spec))
        return frozenset(sorted(spec.whole())[::step])
    start = _value(spec, low, item)
    if high is not None:
        end = _value(spec, high, item)
    else:
        end = start if match["step"] is None else max(start, *spec.whole())
    if end < start:
        end += len(spec.whole())
    return frozenset(spec.wrap(value) for value in range(start, end + 1, step))


def _step(spec: Field, text: str | None, item: str) -> int:
    if text is None:
        return 1
    if not _NUMBER.fullmatch(text) or int(text) == 0:
        refuse(spec, item, "a step is a whole number from 1, like */5")
    return int(text)


def _value(spec: Field, text: str, item: str) -> int:
    if text in spec.words:
        return spec.words[text]
    if _NUMBER.fullmatch(text) and spec.low <= int(text) <= spec.high:
        return int(text)
    short = text[:3]
    if short in spec.words and len(text) > len(short):
        refuse(spec, item, f"names have three letters: write {short.upper()}")
    refuse(spec, item, _expected(spec))


def _expected(spec: Field) -> str:
    words = f" or a name like {next(iter(spec.words)).upper()}" if spec.words else ""
    return (
        f"write '*', a number from {spec.low} to {spec.high}{words}, a range a-b, a step */n, "
        "or a list of these"
    )
