from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.schedule.triggers import parse_interval


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("1d 2h 30m 15s", timedelta(days=1, hours=2, minutes=30, seconds=15)),
        ("2h30m", timedelta(hours=2, minutes=30)),
        ("90m", timedelta(minutes=90)),
        (" 1S ", timedelta(seconds=1)),
        ("3653d", timedelta(days=3653)),
        ("P1DT2H30M15S", timedelta(days=1, hours=2, minutes=30, seconds=15)),
        ("PT90M", timedelta(minutes=90)),
        ("P2W", timedelta(days=14)),
        ("pt1h", timedelta(hours=1)),
    ],
)
def test_an_interval_is_read(text: str, interval: timedelta) -> None:
    assert parse_interval(text) == interval


PARTS = st.tuples(
    st.integers(0, 3000), st.integers(0, 500), st.integers(0, 9999), st.integers(1, 99_999)
)


@given(PARTS)
def test_both_notations_agree(parts: tuple[int, int, int, int]) -> None:
    days, hours, minutes, seconds = parts
    plain = parse_interval(f"{days}d {hours}h {minutes}m {seconds}s")
    assert plain == parse_interval(f"P{days}DT{hours}H{minutes}M{seconds}S")
    assert plain == timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
