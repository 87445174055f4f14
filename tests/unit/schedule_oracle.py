"""A slow oracle of cron runs that shares no code with the scheduler.

It reads the fields by itself, walks the zone's clock step by step and looks at what it shows.
"""

from calendar import monthrange
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
NAMES = {
    **{name: str(place) for place, name in enumerate(WEEKDAYS)},
    **{name: str(place) for place, name in enumerate(MONTHS, start=1)},
}


@dataclass(frozen=True)
class Clock:
    """What a zone's clock shows, step by step: pairs of an instant (UTC) and a naive wall time.

    `shown` has every instant. `reached` has every wall time, with the first instant at which the
    clock shows it or more: those of a gap with its end, those of a second pass not again.
    """

    shown: list[tuple[datetime, datetime]]
    reached: list[tuple[datetime, datetime]]

    @staticmethod
    def of(zone: str, start: datetime, end: datetime, step: timedelta) -> "Clock":
        """The clock between two instants, both of which lie on whole steps."""
        info = ZoneInfo(zone)
        instants = [start + place * step for place in range((end - start) // step + 1)]
        shown = [(at, at.astimezone(info).replace(tzinfo=None, fold=0)) for at in instants]
        reached = []
        latest = shown[0][1] - step
        for instant, wall in shown:
            while latest < wall:
                latest += step
                reached.append((instant, latest))
        return Clock(shown, reached)


@cache
def values(text: str, low: int, high: int) -> frozenset[int]:
    """The numbers that a field's text lists; a range may go on past the field's end."""
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        first, _, last = (NAMES.get(part, part) for part in span.partition("-"))
        if span == "*":
            first, last = str(low), str(high)
        elif not last:
            last = str(max(high, int(first))) if step else first
        start, end, size = int(first), int(last), high - low + 1
        reach = range(start, end + 1 if end >= start else end + size + 1, int(step or 1))
        found.update((number - low) % size + low for number in reach)
    return frozenset(found)


@cache
def shown_on(day_text: str, month_text: str, weekday_text: str, day: date) -> bool:
    """Whether an expression's day fields ask for a day."""
    last = monthrange(day.year, day.month)[1]
    days = any(
        day.day == last if item == "L" else day.day in values(item, 1, 31)
        for item in day_text.split(",")
    )
    weekday = day.isoweekday() % 7
    weekdays = False
    for item in weekday_text.split(","):
        name, _, week = item.partition("#")
        asked = weekday in values(name, 0, 6)
        weekdays = weekdays or (asked and (not week or int(week) == (day.day + 6) // 7))
    both = day_text.startswith("*") or weekday_text.startswith("*")
    return day.month in values(month_text, 1, 12) and (
        (days and weekdays) if both else (days or weekdays)
    )


def runs(expression: str, clock: Clock) -> list[datetime]:
    """Every run of the expression on the clock.

    A fixed-time expression needs a clock that begins before any overlap whose second pass matters.
    """
    *seconds, minute, hour, day, month, weekday = expression.upper().split()
    second_values = values(*(*seconds, "0")[:1], 0, 59)
    minutes, hours = values(minute, 0, 59), values(hour, 0, 23)

    def matches(wall: datetime) -> bool:
        return (
            wall.minute in minutes
            and wall.hour in hours
            and wall.second in second_values
            and shown_on(day, month, weekday, wall.date())
        )

    wildcard = minute.startswith("*") or hour.startswith("*")
    pairs = clock.shown if wildcard else clock.reached
    return list(dict.fromkeys(instant for instant, wall in pairs if matches(wall)))
