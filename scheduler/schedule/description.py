"""What a schedule means, in one English sentence, with 24-hour times on the zone's clock.

Which minutes and seconds is told by cron-descriptor. It knows nothing of this project's day rules
(both or either), stumbles over lists with `#` or `L`, and takes uneven steps for even ones: it is
handed plain values, and hours, days and months are told here.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import product
from typing import assert_never

from scheduler.jobs.model import Schedule, ScheduleType
from scheduler.schedule import fields
from scheduler.schedule.cron_text import CronText, joined, read_cron, stretch, stride
from scheduler.schedule.interval import parse_interval
from scheduler.schedule.once import resolve_time
from scheduler.schedule.transitions import SECOND, wall_at
from scheduler.schedule.triggers import describe_run, preview

WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August"),
    *("September", "October", "November", "December"),
)
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_MOST_TIMES = 8
_MOST_DAYS = 5
_LONGEST_PAIR = 2
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def describe(schedule: Schedule, timezone: str) -> str:
    """Tells a valid schedule, with its bounds and its jitter; `timezone` is a canonical name."""
    match schedule.type:
        case ScheduleType.CRON:
            text = describe_cron(schedule.expression)
        case ScheduleType.INTERVAL:
            text = _interval(schedule, timezone)
        case ScheduleType.ONCE:
            text = _once(schedule, timezone)
        case _:
            assert_never(schedule.type)
    return text + _bounds(schedule, timezone) + _jitter(schedule)


def describe_cron(expression: str) -> str:
    """Tells a valid cron expression: `At 06:00, Monday to Friday`."""
    cron = read_cron(expression)
    times, days = _clock_times(cron), _days(cron)
    time = f"At {joined(times)}" if times else _time(cron)
    in_some_months = len(cron.months) < len(MONTHS)
    if not days and (times or in_some_months):
        days = "every day"
    if in_some_months:
        days += f", {_within('in', month_words(cron.months))}"
    return f"{time}, {days}" if days else time


def duration_words(duration: timedelta) -> str:
    """`1 day 2 hours`."""
    rest, words = int(duration.total_seconds()), []
    for unit, size in _UNITS:
        number, rest = divmod(rest, size)
        if number:
            words.append(f"{number} {unit}{'s' * (number > 1)}")
    return " ".join(words) or "0 seconds"


def local_time(instant: datetime, timezone: str) -> str:
    """`2027-03-14 03:00 EDT`."""
    wall = wall_at(timezone, instant)
    shown = describe_run(instant, timezone)
    return f"{wall:%Y-%m-%d} {clock(wall.hour, wall.minute, wall.second)} {shown['abbreviation']}"


def clock(hour: int, minute: int, second: int = 0) -> str:
    """`06:00`, or `06:00:30`."""
    return f"{hour:02}:{minute:02}" + (f":{second:02}" if second else "")


def weekday_words(numbers: frozenset[int]) -> str:
    """`Monday to Friday`, `Saturday and Sunday`."""
    return _listed(numbers, fields.WEEKDAY.whole(), WEEKDAYS, start=1)


def month_words(months: frozenset[int]) -> str:
    """`January and March`, `November to February`."""
    return _listed(months, fields.MONTH.whole(), ("", *MONTHS), start=1)


def _within(preposition: str, words: str) -> str:
    """`on Monday`, but `from Monday to Friday`."""
    return f"{'from' if ' to ' in words else preposition} {words}"


def _clock_times(cron: CronText) -> list[str]:
    """The times of day, when they are few; else none."""
    times = [clock(*pair, min(cron.seconds)) for pair in _hours_and_minutes(cron)]
    return times if len(cron.seconds) == 1 and len(times) <= _MOST_TIMES else []


def _hours_and_minutes(cron: CronText) -> list[tuple[int, int]]:
    """In order; a span of hours past midnight begins with its first."""
    span = stretch(cron.hours, fields.HOUR.whole())
    first = span[0] if span else 0
    hours = sorted(cron.hours, key=lambda hour: (hour - first) % 24)
    return list(product(hours, sorted(cron.minutes)))


def _time(cron: CronText) -> str:
    if len(cron.seconds) > 1:
        return _seconds(cron, _hours_and_minutes(cron))
    (second,) = cron.seconds
    if len(cron.minutes) > 1 or cron.hours == fields.HOUR.whole():
        minute = _plain(cron.minutes, fields.MINUTE)
        return _by_descriptor(f"{second} {minute} * * * *") + _window(cron.hours)
    (minute_value,) = cron.minutes
    return _each_hour(cron.hours, minute_value, second)


def _each_hour(hours: frozenset[int], minute: int, second: int) -> str:
    """One time an hour, in some of the hours."""
    span = stretch(hours, fields.HOUR.whole())
    step = stride(hours)
    first, last = span or (min(hours), max(hours))
    ends = f"from {clock(first, minute, second)} to {clock(last, minute, second)}"
    if span is not None:
        return f"Every hour {ends}"
    if step is not None:
        return f"Every {step} hours {ends}"
    return f"At {joined(clock(hour, minute, second) for hour in sorted(hours))}"


def _seconds(cron: CronText, pairs: Sequence[tuple[int, int]]) -> str:
    """Several runs within a minute."""
    text = _by_descriptor(f"{_plain(cron.seconds, fields.SECOND)} * * * * *")
    if len(pairs) <= _MOST_TIMES:
        minutes = joined(clock(hour, minute) for hour, minute in pairs)
        return f"{text}, in the minute{'s' * (len(pairs) > 1)} of {minutes}"
    if cron.minutes != fields.MINUTE.whole():
        numbers = [str(minute) for minute in range(60)]
        minutes = _listed(cron.minutes, fields.MINUTE.whole(), numbers)
        text += f", in minute{'s' * (len(cron.minutes) > 1)} {minutes} of the hour"
    return text + _window(cron.hours)


def _window(hours: frozenset[int]) -> str:
    if hours == fields.HOUR.whole():
        return ""
    span = stretch(hours, fields.HOUR.whole())
    if span is not None:
        return f", from {clock(span[0], 0)} to {clock(span[1], 59)}"
    return f", in the hours that begin at {joined(clock(hour, 0) for hour in sorted(hours))}"


def _days(cron: CronText) -> str:
    """Which days, in any month; an empty text for all."""
    free = (cron.every_day, cron.every_weekday)
    if all(free) or (any(free) and not cron.both):
        return ""
    if cron.every_weekday:
        return f"on {_days_of_month(cron.days)}"
    weekdays = _days_of_week(cron.weekdays)
    if cron.every_day or not cron.day_occurs:
        return weekdays
    if cron.both:
        return f"on {_days_of_month(cron.days)}, but only {weekdays}"
    return f"on {_days_of_month(cron.days)}, and also {weekdays}"


def _days_of_month(days: fields.Days) -> str:
    words = []
    if days.numbers:
        order = sorted(days.numbers)
        numbers = _listed(days.numbers, fields.DAY.whole(), range(32))
        if len(order) > _MOST_DAYS and (stride(order) or 1) > 1:
            numbers = f"{order[0]}, {order[1]}, {order[2]}, …, {order[-1]}"
        words.append(f"day{'s' * (len(order) > 1)} {numbers}")
    if days.last:
        words.append("the last day")
    return f"{joined(words)} of the month"


def _days_of_week(weekdays: fields.Weekdays) -> str:
    words = [_within("on", weekday_words(weekdays.numbers))] if weekdays.numbers else []
    if weekdays.nths:
        nths = sorted(weekdays.nths, key=lambda one: (one[1], one[0]))
        named = joined(f"the {_ORDINALS[nth - 1]} {WEEKDAYS[day]}" for day, nth in nths)
        words.append(f"on {named} of the month")
    return joined(words)


def _listed(
    values: frozenset[int], whole: Iterable[int], words: Sequence[object], start: int = 0
) -> str:
    """`a to c` for three or more that follow one another, else `a, c and e`."""
    span = stretch(values, whole) if len(values) > _LONGEST_PAIR else None
    if span is not None:
        return f"{words[span[0]]} to {words[span[1]]}"
    order = sorted(values, key=lambda value: (value < start, value))
    return joined(words[value] for value in order)


def _plain(values: frozenset[int], field: fields.Field) -> str:
    """Values as the text of a field that is true however one reads it: no uneven step."""
    whole, order, step = field.whole(), sorted(values), stride(values)
    if values == whole:
        return "*"
    even = step is not None and step * len(values) == len(whole)
    if even and (order[0] == field.low or len(values) >= _MOST_DAYS):
        return f"{'*' if order[0] == field.low else order[0]}/{step}"
    span = stretch(values, whole) if len(values) > _LONGEST_PAIR else None
    return ",".join(map(str, order)) if span is None else f"{span[0]}-{span[1]}"


def _by_descriptor(expression: str) -> str:
    # Imported at its first use: a cold start does not pay for it.
    from cron_descriptor import ExpressionDescriptor, Options

    options = Options(locale_code="en_US", use_24hour_time_format=True)
    text: str = ExpressionDescriptor(expression, options).get_full_description()
    return text.replace(", and ", " and ")


def _interval(schedule: Schedule, timezone: str) -> str:
    text = f"Every {duration_words(parse_interval(schedule.expression))}"
    if schedule.anchor is None:
        return text
    return f"{text}, counted from {local_time(schedule.anchor, timezone)}"


def _once(schedule: Schedule, timezone: str) -> str:
    resolved, wall = resolve_time(schedule.expression, timezone)
    if wall is None:
        local = wall_at(timezone, resolved.instant)
        name = " " + describe_run(resolved.instant, timezone)["abbreviation"]
    else:
        local, name = wall, ""
    text = f"Once, on {local:%Y-%m-%d} at {clock(local.hour, local.minute, local.second)}{name}"
    shown = Schedule(type=ScheduleType.ONCE, expression=schedule.expression)
    run = preview(shown, timezone, resolved.instant - SECOND, 1)[0]
    return f"{text} ({run['reason']})" if "reason" in run else text


def _bounds(schedule: Schedule, timezone: str) -> str:
    if schedule.type is ScheduleType.ONCE:
        return ""
    start, end = schedule.start_at, schedule.end_at
    first = "" if start is None else f"; not before {local_time(start, timezone)}"
    return first + ("" if end is None else f"; ends before {local_time(end, timezone)}")


def _jitter(schedule: Schedule) -> str:
    if not schedule.jitter_seconds:
        return ""
    spread = duration_words(timedelta(seconds=schedule.jitter_seconds))
    return f"; each run starts up to {spread} later"
