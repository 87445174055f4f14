from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ScheduleError
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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0s", "out of range; write an interval from 1s to 3653d"),
        ("PT0S", "out of range"),
        ("3653d 1s", "out of range"),
        ("999999999d", "out of range"),
        ("-1h", "negative"),
        ("-PT1H", "negative"),
        ("P-1D", "negative"),
        ("90", "'90' has no unit; write 90s, 90m, 90h or 90d"),
        ("1.5h", "whole numbers"),
        ("PT0.5S", "whole numbers"),
        ("P1M", "months and years have no fixed length"),
        ("P1Y2M", "months and years have no fixed length"),
        ("", "is no interval; write like '1d 2h 30m 15s'"),
        ("P", "is no interval"),
        ("PT", "is no interval"),
        ("1h 1d", "is no interval"),
        ("1h 1h", "is no interval"),
        ("every hour", "is no interval"),
        ("٣h", "is no interval"),
        ("9" * 5000 + "s", "is no interval"),
    ],
)
def test_a_refused_interval_says_what_to_write_instead(text: str, said: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        parse_interval(text)
    assert said in caught.value.message
    assert (caught.value.field, caught.value.code) == ("expression", "invalid_interval")
    assert len(caught.value.message) < 250


PARTS = st.tuples(
    st.integers(0, 3000), st.integers(0, 500), st.integers(0, 9999), st.integers(1, 99_999)
)


@given(PARTS)
def test_both_notations_agree(parts: tuple[int, int, int, int]) -> None:
    days, hours, minutes, seconds = parts
    plain = parse_interval(f"{days}d {hours}h {minutes}m {seconds}s")
    assert plain == parse_interval(f"P{days}DT{hours}H{minutes}M{seconds}S")
    assert plain == timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
