"""Reads a zone's clock changes from the compiled files of `tzdata`, without `zoneinfo`.

A file lists changes one by one as far as they follow no rule, and ends with the rule of all later
ones, such as `EST5EDT,M3.2.0,M11.1.0`.
"""

import re
import struct
from calendar import monthrange
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import NamedTuple


class Shift(NamedTuple):
    """A change of offset: when (UTC), and the offsets before and after it."""

    at: datetime
    before: timedelta
    after: timedelta


_HEADER = 44
_TIME = r"[+-]?\d{1,3}(?::\d\d)?(?::\d\d)?"
_NAME = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]+>)"
_DAY = rf"M\d+\.\d\.\d(?:/{_TIME})?"
_RULE = re.compile(rf"{_NAME}({_TIME})(?:{_NAME}({_TIME})?,({_DAY}),({_DAY}))?")


def shifts(zone: str, first_year: int, last_year: int) -> list[Shift]:
    """The changes of offset within the years, both inclusive, in order."""
    data = files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()
    utc_flags, std_flags, leaps, times, kinds, letters = _counts(data, 0)
    body = _HEADER + times * 5 + kinds * 6 + letters + leaps * 8 + std_flags + utc_flags
    utc_flags, std_flags, leaps, times, kinds, letters = _counts(data, body)
    start = body + _HEADER
    moments = struct.unpack(f">{times}q", data[start : start + 8 * times])
    places = data[start + 8 * times : start + 9 * times]
    table = start + 9 * times
    offsets = [
        timedelta(seconds=struct.unpack(">l", data[table + 6 * i : table + 6 * i + 4])[0])
        for i in range(kinds)
    ]
    end = table + kinds * 6 + letters + leaps * 12 + std_flags + utc_flags
    changes = [
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=moment), offsets[place])
        for moment, place in zip(moments, places, strict=True)
    ]
    last = changes[-1][0] if changes else datetime.min.replace(tzinfo=UTC)
    changes += _by_rule(data[end:].decode().strip(), last, last_year)
    return list(_within(changes, offsets[0], first_year, last_year))


def _within(
    changes: list[tuple[datetime, timedelta]], before: timedelta, first_year: int, last_year: int
) -> Iterator[Shift]:
    for at, offset in changes:
        if offset != before and first_year <= at.year <= last_year:
            yield Shift(at, before, offset)
        before = offset


def _counts(data: bytes, start: int) -> tuple[int, ...]:
    return struct.unpack(">6l", data[start + 20 : start + _HEADER])


def _by_rule(rule: str, last: datetime, last_year: int) -> list[tuple[datetime, timedelta]]:
    """The changes after `last` by a file's rule: each instant with its new offset."""
    found = _RULE.fullmatch(rule)
    assert found is not None, rule
    standard_text, summer_text, begins, ends = found.groups()
    if begins is None:
        return []
    standard = -_duration(standard_text)
    summer = standard + timedelta(hours=1) if summer_text is None else -_duration(summer_text)
    years = range(max(last.year, 1970), last_year + 1)
    changes = [(_wall(begins, year) - standard, summer) for year in years]
    changes += [(_wall(ends, year) - summer, standard) for year in years]
    return sorted(change for change in changes if change[0] > last)


def _wall(day: str, year: int) -> datetime:
    """`M3.2.0/2`: the wall time in March, second Sunday, 02:00; a fifth one is the last."""
    text, _, time = day.partition("/")
    month, week, weekday = (int(number) for number in text[1:].split("."))
    first = datetime(year, month, 1, tzinfo=UTC)
    number = 1 + (weekday - first.isoweekday()) % 7 + 7 * (week - 1)
    while number > monthrange(year, month)[1]:
        number -= 7
    return first.replace(day=number) + _duration(time or "2")


def _duration(text: str) -> timedelta:
    parts = [int(part) for part in text.lstrip("+-").split(":")]
    hours, minutes, seconds = (*parts, 0, 0)[:3]
    length = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return -length if text.startswith("-") else length
