"""A cron expression as its author wrote it: each field's text beside the values that it stands for.

What explains an expression reads it here; what matches it is `scheduler.schedule.cron`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from scheduler.schedule import fields
from scheduler.schedule.cron import split_fields

LONGEST_MONTHS = dict(
    zip(range(1, 13), (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), strict=True)
)
"""Month → its days, in a leap year."""


@dataclass(frozen=True, slots=True)
class CronText:
    """The six fields, each as text and values; without a field of its own, the second is 0.

    `both`: a day must match day-of-month and day-of-week; else either is enough.
    """

    texts: tuple[str, str, str, str, str, str]
    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: fields.Days
    months: frozenset[int]
    weekdays: fields.Weekdays
    both: bool

    @property
    def every_day(self) -> bool:
        """Whether day-of-month takes in every day."""
        return self.days.numbers == fields.DAY.whole()

    @property
    def every_weekday(self) -> bool:
        """Whether day-of-week takes in every day."""
        return self.weekdays.numbers == fields.WEEKDAY.whole()

    @property
    def day_occurs(self) -> bool:
        """Whether day-of-month comes in one of the months at all."""
        longest = max(LONGEST_MONTHS[month] for month in self.months)
        return self.days.last or min(self.days.numbers) <= longest


def read_cron(expression: str) -> CronText:
    """Reads an expression.

    Raises:
        ScheduleError: `invalid_cron`: which field, what was found, what to write instead.
    """
    texts = split_fields(expression)
    second, minute, hour, day, month, weekday = texts if len(texts) == 6 else ["0", *texts]
    return CronText(
        texts=(second, minute, hour, day, month, weekday),
        seconds=fields.parse_numbers(fields.SECOND, second),
        minutes=fields.parse_numbers(fields.MINUTE, minute),
        hours=fields.parse_numbers(fields.HOUR, hour),
        days=fields.parse_days(day),
        months=fields.parse_numbers(fields.MONTH, month),
        weekdays=fields.parse_weekdays(weekday),
        both=day.startswith("*") or weekday.startswith("*"),
    )


def joined(words: Iterable[object], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    *first, final = map(str, words)
    return f"{', '.join(first)} {last} {final}" if first else final


def stretch(values: frozenset[int], whole: Iterable[int]) -> tuple[int, int] | None:
    """The first and last of values that follow one another, over the field's end too; else None."""
    order = list(whole)
    starts = [
        value
        for place, value in enumerate(order)
        if value in values and order[place - 1] not in values
    ]
    if len(starts) != 1:
        return None
    first = order.index(starts[0])
    return starts[0], order[(first + len(values) - 1) % len(order)]


def stride(values: Iterable[int]) -> int | None:
    """The one distance between neighbors of at least two values; else None."""
    order = sorted(values)
    steps = {right - left for left, right in pairwise(order)}
    return steps.pop() if len(steps) == 1 else None
