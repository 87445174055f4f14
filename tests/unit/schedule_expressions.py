"""Cron expressions for property tests: every notation, near the hours of a clock change."""

from hypothesis import strategies as st

from tests.unit.schedule_oracle import MINUTE, MONTHS, WEEKDAYS
from tests.unit.tzif import Shift

Texts = st.SearchStrategy[str]


def expressions(change: Shift, *, seconds: bool = False) -> Texts:
    """Expressions of 5 fields, or of 6; the hours are mostly those around the change."""
    before, after = change.at + change.before, change.at + change.after
    hours = sorted({(wall.hour + by) % 24 for wall in (before, after) for by in (-1, 0, 1)})
    minutes = sorted({before.minute, after.minute, 0, 29, 30, 59})
    fields = [
        _field(minutes, 0, 59),
        _field(hours, 0, 23),
        _days(before.day, after.day),
        _months(before.month),
        _weekdays(),
    ]
    if seconds:
        fields.insert(0, _field([0, 1, 30, 59], 0, 59))
    return st.tuples(*fields).map(" ".join)


def fixed_expressions(change: Shift) -> list[str]:
    """Daily times at, just before and inside the gap or the overlap of a change."""
    before, after = sorted((change.at + change.before, change.at + change.after))
    walls = {before - MINUTE, before, before + (after - before) / 2, after - MINUTE, after}
    return [f"{wall.minute} {wall.hour} * * *" for wall in walls]


def _field(near: list[int], low: int, high: int) -> Texts:
    value = st.one_of(st.sampled_from(near), st.integers(low, high))
    return st.one_of(
        value.map(str),
        st.just("*"),
        st.integers(2, 40).map("*/{}".format),
        _listed(value),
        _range(value),
        st.tuples(value, st.integers(2, 30)).map(lambda pair: f"{pair[0]}/{pair[1]}"),
        st.tuples(value.map(str), _range(value)).map(",".join),
    )


def _listed(value: st.SearchStrategy[int]) -> Texts:
    lists = st.lists(value, min_size=2, max_size=4)
    return lists.map(lambda numbers: ",".join(map(str, numbers)))


def _range(value: st.SearchStrategy[int]) -> Texts:
    parts = st.tuples(value, value, st.sampled_from(["", "", "/2", "/7", "/15"]))
    return parts.map(lambda part: f"{part[0]}-{part[1]}{part[2]}")


def _days(*near: int) -> Texts:
    value = st.one_of(st.sampled_from(near), st.integers(1, 31))
    return st.one_of(
        st.just("*"),
        st.just("*"),
        st.just("*"),
        st.sampled_from(["*/2", "L", "15,L", "1-31", "31-1", "*/10"]),
        _listed(value),
        _range(value),
    )


def _months(month: int) -> Texts:
    word = MONTHS[month - 1]
    return st.sampled_from(
        ["*", "*", "*", str(month), word, word.lower(), "*/2", "OCT-APR", "3-11"]
    )


def _weekdays() -> Texts:
    value = st.integers(0, 7)
    word = st.sampled_from([*WEEKDAYS, *map(str.lower, WEEKDAYS), *map(str, range(8))])
    return st.one_of(
        st.just("*"),
        st.just("*"),
        st.just("*"),
        st.sampled_from(["*/2", "FRI-MON", "0-7", "5-7", "7-1", "MON-FRI"]),
        _listed(value),
        _range(value),
        st.tuples(word, st.integers(1, 5)).map(lambda pair: f"{pair[0]}#{pair[1]}"),
        st.tuples(word, word, st.integers(1, 5)).map(lambda part: f"{part[0]},{part[1]}#{part[2]}"),
    )
