"""The fields of a cron expression: their text as sets of values; errors say what to write.

Values are kept as the author meant them: `a-a` is `a`, `22-2` goes on past the field's end, a step
without a range (`5/15`) runs to the end, Sunday is 0 and 7.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from scheduler.errors import ScheduleError
from scheduler.schedule.wording import foreign_character, quoted

_ITEM = re.compile(r"(?P<low>[^-/]+)(?:-(?P<high>[^-/]+))?(?:/(?P<step>.*))?", re.ASCII)
_NUMBER = re.compile(r"\d+", re.ASCII)
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]


@dataclass(frozen=True, slots=True)
class Field:
    """One of cron's fields: its name, its least and greatest value, its words, where it stands."""

    name: str
    low: int
    high: int
    words: Mapping[str, int] = field(default_factory=dict)
    size: int = 0
    place: str = ""

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
MONTH = Field(
    "month",
    1,
    12,
    {word: number for number, word in enumerate(_MONTHS, start=1)},
    place="the last but one",
)
WEEKDAY = Field(
    "day-of-week",
    0,
    7,
    {word: number for number, word in enumerate(_WEEKDAYS)},
    size=7,
    place="the last",
)
_LAST_DAY = "L means the last day of the month, in day-of-month only"


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
    numbers = [_range(DAY, item) for item in items if not _is_last(item)]
    return Days(frozenset().union(*numbers), any(map(_is_last, items)))


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
        "expression", "invalid_cron", f"{spec.name}: {quoted(found)} cannot be read; {remedy}"
    )


def _items(spec: Field, text: str) -> list[str]:
    advice = foreign_character(text)
    if advice is not None:
        refuse(spec, text, advice)
    items = text.split(",")
    if "" in items:
        refuse(spec, text, "an item of its list is empty: take out the extra comma or blank")
    for item in items:
        _refuse_foreign(spec, item, item.lower())
    return items


def _is_last(item: str) -> bool:
    return item.lower() == "l"


def _refuse_foreign(spec: Field, item: str, lower: str) -> None:
    """Refuses what other schedulers read and this one does not, with the way to write it here."""
    if "?" in item:
        refuse(spec, item, "write '*' instead")
    if re.match(r"[hr](\(|/|$)", lower):
        refuse(spec, item, "write a fixed value; jitter_seconds spreads the load of many jobs")
    if re.fullmatch(r"\d*(w|lw|wl)\d*", lower):
        remedy = "write a day from 1 to 31, or MON-FRI in day-of-week for every weekday"
        refuse(spec, item, remedy)
    if "#" in item and spec is not WEEKDAY:
        refuse(spec, item, "# stands in day-of-week only, like MON#1")
    if spec is WEEKDAY:
        _refuse_last_weekday(item, lower)
    elif "l" in re.split("[-/]", lower) and not (spec is DAY and _is_last(item)):
        place = "write L by itself, or as an item of a list like 15,L" if spec is DAY else _LAST_DAY
        refuse(spec, item, place)


def _refuse_last_weekday(item: str, lower: str) -> None:
    if _is_last(item):
        refuse(WEEKDAY, item, f"write SAT for Saturday; {_LAST_DAY}")
    found = re.fullmatch(rf"(?P<day>[0-7]|{'|'.join(_WEEKDAYS)})l|l-?\d*", lower, re.ASCII)
    if found is None:
        return
    name = "FRI"
    if found["day"] is not None:
        name = _WEEKDAYS[_value(WEEKDAY, found["day"], item) % 7].upper()
    remedy = f"write {name}#4 for the month's fourth {name}; a month's last one has no notation"
    refuse(WEEKDAY, item, remedy)


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
    name = text.lower()
    if name in spec.words:
        return spec.words[name]
    if _NUMBER.fullmatch(text):
        if spec.low <= int(text) <= spec.high:
            return int(text)
        if spec is HOUR and int(text) == 24:
            refuse(spec, item, "write 0 for midnight; hours go from 0 to 23")
    elif name.isalpha():
        _refuse_name(spec, name, item)
    refuse(spec, item, _expected(spec))


def _refuse_name(spec: Field, name: str, item: str) -> NoReturn:
    short = name[:3]
    if short in spec.words:
        refuse(spec, item, f"names have three letters: write {short.upper()}")
    for other in (MONTH, WEEKDAY):
        if short in other.words:
            refuse(spec, item, f"{short.upper()} belongs in the field {other.name}, {other.place}")
    near = difflib.get_close_matches(name, spec.words, n=1)
    if near:
        names = " ".join(spec.words).upper()
        refuse(spec, item, f"did you mean {near[0].upper()}? The names are {names}")
    refuse(spec, item, _expected(spec))


def _expected(spec: Field) -> str:
    words = f" or a name like {next(iter(spec.words)).upper()}" if spec.words else ""
    return (
        f"write '*', a number from {spec.low} to {spec.high}{words}, a range a-b, a step */n, "
        "or a list of these"
    )
