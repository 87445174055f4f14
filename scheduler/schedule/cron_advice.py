"""What a cron expression says that its author may not have meant: too often, unevenly, never."""

from collections.abc import Iterator

from scheduler.jobs.notice import Notice
from scheduler.schedule import fields
from scheduler.schedule.cron_text import LONGEST_MONTHS, CronText, read_cron
from scheduler.schedule.description import WEEKDAYS, clock, month_words

_FEBRUARY, _LEAP_DAY, _DAYS_A_WEEK, _MOST_LISTED = 2, 29, 7, 5
_UNITS = {"s": "second", "m": "minute", "h": "hour", "d": "day", "": "month"}
_WEEKS = {(1, 7): 1, (8, 14): 2, (15, 21): 3, (22, 28): 4}
"""First and last day of a week of the month → its number, as in MON#1."""


def cron_advice(expression: str) -> Iterator[Notice]:
    """Looks at a valid expression alone; pointers are those of a schedule."""
    cron = read_cron(expression)
    for message in _too_often(cron):
        yield Notice("/expression", "runs_very_often", message)
    for message in _uneven(cron):
        yield Notice("/expression", "uneven_step", message)
    if not cron.both and cron.day_occurs:
        yield Notice("/expression", "either_day", _either_day(cron))
    for message in _days_left_out(cron):
        yield Notice("/expression", "day_left_out", message)


def _too_often(cron: CronText) -> Iterator[str]:
    often, hours = len(cron.seconds), cron.hours
    if often > 1:
        a_day = often * len(cron.minutes) * len(hours)
        pace = "every second" if often == len(fields.SECOND.whole()) else f"{often} times a minute"
        yield (
            f"runs {pace}, {a_day:,} runs a day: the first of six fields is the second; "
            "write 0 there for one run a minute"
        )
    elif cron.minutes == fields.MINUTE.whole() and len(hours) == 1:
        (hour,) = hours
        yield (
            f"runs 60 times, each minute from {clock(hour, 0)} to {clock(hour, 59)}; "
            f"write 0 as the minute for one run at {clock(hour, 0)}"
        )


def _uneven(cron: CronText) -> Iterator[str]:
    second, minute, hour, _, month, _ = cron.texts
    every_month = cron.months == fields.MONTH.whole()
    every_day = every_month and cron.every_day and cron.every_weekday
    every_hour = every_day and cron.hours == fields.HOUR.whole()
    every_minute = every_hour and cron.minutes == fields.MINUTE.whole()
    in_turn = len(cron.minutes) > 1 or len(cron.hours) > 1
    hours_in_turn = any((value + 1) % 24 in cron.hours for value in cron.hours)
    yield from _uneven_field(fields.SECOND, second, "s", whole=every_minute, in_turn=in_turn)
    yield from _uneven_field(fields.MINUTE, minute, "m", whole=every_hour, in_turn=hours_in_turn)
    yield from _uneven_field(fields.HOUR, hour, "h", whole=every_day)
    yield from _uneven_days(cron, every_month=every_month)
    yield from _uneven_field(fields.MONTH, month, "", whole=True)


def _uneven_days(cron: CronText, *, every_month: bool) -> Iterator[str]:
    day, weekday = cron.texts[3], cron.texts[5]
    two = cron.both and not cron.every_day and not cron.every_weekday
    also = f"; day-of-week '{weekday.upper()}' must match too" if two else ""
    for text in _uneven_field(fields.DAY, day, "d", whole=every_month and cron.every_weekday):
        yield text + also
    if two and "/" in weekday and len(cron.weekdays.numbers) == 1:
        yield _weekday_by_step(cron)
        return
    also = f"; day-of-month '{day}' must match too" if two else ""
    for text in _uneven_field(fields.WEEKDAY, weekday, "d", whole=every_month and cron.every_day):
        yield text + also


def _uneven_field(
    field: fields.Field, text: str, unit: str, *, whole: bool, in_turn: bool = True
) -> Iterator[str]:
    """A step past the end of its span, or over a whole field that it does not divide.

    `whole`: no other field keeps an interval from taking its place; `in_turn`: its rounds follow
    one another.
    """
    span, _, step_text = text.partition("/")
    if not step_text.isdigit() or "," in span:
        return
    step, order = int(step_text), sorted(fields.parse_numbers(field, text))
    instead = f"; write an interval of {step}{unit} for equal distances" if unit and whole else ""
    found = f"{field.name}: '{text}'"
    if len(order) == 1 and step > 1:
        instead = "" if "-" in span else instead
        past = f"the step leads past the end of the {'range' if '-' in span else 'field'}"
        yield f"{found} is {order[0]} alone: {past}{instead or f'; write {order[0]}'}"
    elif in_turn and _begins_round(field, span, step):
        ends = [*order[:2], "…", order[-1]] if len(order) > _MOST_LISTED else order
        then = f"{order[0]} again" if field is fields.DAY else _next_round(field, order, unit)
        yield f"{found} is {', '.join(map(str, ends))}, then {then}{instead}"


def _begins_round(field: fields.Field, span: str, step: int) -> bool:
    """Whether a step over the whole field has another distance from its last value to its first."""
    if step == 1 or not (span == "*" or span.isdigit()):
        return False
    low = field.low if span == "*" else int(span)
    divides = len(field.whole()) % step == 0 and field is not fields.DAY
    return low - field.low < step and not divides


def _weekday_by_step(cron: CronText) -> str:
    """A day-of-week such as `*/7`, written with `*` so that day-of-month must match too."""
    (number,) = cron.weekdays.numbers
    week = _week_of(cron)
    name = WEEKDAYS[number][:3].upper()
    remedy = f"write * as day-of-month and {name} for every {WEEKDAYS[number]}"
    if week is not None:
        remedy = f"write * as day-of-month and {name}#{week} as day-of-week"
    return (
        f"day-of-week: '{cron.texts[5]}' is {WEEKDAYS[number]} alone, and as it begins with * "
        f"day-of-month '{cron.texts[3]}' must match too; {remedy}"
    )


def _week_of(cron: CronText) -> int | None:
    """Which week of the month (1 to 4) day-of-month is; None when it is something else."""
    numbers = cron.days.numbers
    if len(numbers) != _DAYS_A_WEEK or cron.days.last:
        return None
    return _WEEKS.get((min(numbers), max(numbers)))


def _next_round(field: fields.Field, order: list[int], unit: str) -> str:
    distance = order[0] + len(field.whole()) - order[-1]
    return f"{order[0]} again, {distance} {_UNITS[unit]}{'s' * (distance > 1)} later"


def _either_day(cron: CronText) -> str:
    day, weekday = cron.texts[3], cron.texts[5].upper()
    text = f"day-of-month '{day}' and day-of-week '{weekday}' are both given: either is enough"
    if cron.every_day or cron.every_weekday:
        return f"{text}, and one of them is every day; write * there for the other alone"
    week = _week_of(cron)
    if week is not None and len(cron.weekdays.numbers) == 1:
        (number,) = cron.weekdays.numbers
        name = f"{WEEKDAYS[number][:3].upper()}#{week}"
        return f"{text}; for {WEEKDAYS[number]} of that week alone write * and {name}"
    return f"{text}; write * in one of them for the other alone"


def _days_left_out(cron: CronText) -> Iterator[str]:
    if cron.days.last or (not cron.both and cron.every_weekday):
        return
    day, weekday = cron.texts[3], cron.texts[5].upper()
    if not cron.day_occurs:
        yield (
            f"day-of-month '{day}' never comes in {month_words(cron.months)}: "
            f"only day-of-week '{weekday}' makes it run"
        )
        return
    for item in day.split(","):
        if item.isdigit() or ("/" not in item and "-" in item):
            yield from _day_left_out(cron, item)


def _day_left_out(cron: CronText, item: str) -> Iterator[str]:
    first = min(fields.parse_days(item).numbers)
    without = frozenset(month for month in cron.months if LONGEST_MONTHS[month] < first)
    remedy = "write L for a month's last day"
    if without:
        text = f"day-of-month '{item}' does not come in {month_words(without)}"
        yield f"{text}, so it makes no run there; {remedy}"
    elif first == _LEAP_DAY and _FEBRUARY in cron.months:
        yield f"day-of-month '{item}' comes in February in leap years only; {remedy}"
