"""Reads a zone's clock changes from the compiled files of `tzdata`, without `zoneinfo`."""

import struct
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import NamedTuple


class Shift(NamedTuple):
    """A change of offset: when (UTC), and the offsets before and after it."""

    at: datetime
    before: timedelta
    after: timedelta


_HEADER = 44


def shifts(zone: str, first_year: int, last_year: int) -> list[Shift]:
    """The changes of offset within the years, both inclusive, in order."""
    data = files("tzdata").joinpath("zoneinfo", *zone.split("/")).read_bytes()
    utc_flags, std_flags, leaps, times, kinds, letters = _counts(data, 0)
    body = _HEADER + times * 5 + kinds * 6 + letters + leaps * 8 + std_flags + utc_flags
    _, _, _, times, kinds, _ = _counts(data, body)
    start = body + _HEADER
    moments = struct.unpack(f">{times}q", data[start : start + 8 * times])
    places = data[start + 8 * times : start + 9 * times]
    table = start + 9 * times
    offsets = [
        struct.unpack(">l", data[table + 6 * i : table + 6 * i + 4])[0] for i in range(kinds)
    ]
    if not offsets:
        return []
    found, current = [], offsets[0]
    for moment, place in zip(moments, places, strict=True):
        if offsets[place] != current:
            before, after = timedelta(seconds=current), timedelta(seconds=offsets[place])
            found.append((moment, before, after))
        current = offsets[place]
    return [
        Shift(datetime.fromtimestamp(moment, UTC), before, after)
        for moment, before, after in found
        if first_year <= datetime.fromtimestamp(moment, UTC).year <= last_year
    ]


def _counts(data: bytes, start: int) -> tuple[int, ...]:
    return struct.unpack(">6l", data[start + 20 : start + _HEADER])
