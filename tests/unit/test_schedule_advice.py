"""Warnings about schedules: each where it is due, and none about ordinary ones."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ScheduleError
from scheduler.jobs.model import CatchUp, Schedule, ScheduleType
from scheduler.schedule.advice import schedule_advice, zone_advice
from scheduler.schedule.triggers import validate_schedule
from tests.unit.test_schedule_description import EXPRESSIONS

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
NEW_YORK = "America/New_York"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def advice(
    expression: str,
    timezone: str = "UTC",
    *,
    kind: str = "cron",
    now: datetime = NOW,
    **more: Any,  # noqa: ANN401
) -> list[tuple[str, str, str]]:
    schedule = Schedule(type=ScheduleType(kind), expression=expression, **more)
    found = schedule_advice(schedule, timezone, now)
    return [(notice.pointer, notice.code, notice.message) for notice in found]


def only(found: list[tuple[str, str, str]], code: str, pointer: str = "/expression") -> str:
    assert [(place, kind) for place, kind, _ in found] == [(pointer, code)]
    return found[0][2]


@pytest.mark.parametrize(
    "expression",
    [
        *("0 6 * * MON-FRI", "*/15 * * * *", "0 * * * *", "* * * * *", "@daily", "@monthly"),
        *("0 9-17 * * *", "*/10 9-17 * * 1-5", "0 0 L * *", "0 0 1,15 * *", "0 0 * * MON#1"),
        *("0 */6 * * *", "0 8/4 * * *", "5/15 * * * *", "0 0 15,L * *", "0 0 28 2 *"),
        *("0 0 1 */3 *", "30 0 6 * * *", "*/7 6 * * *", "0 0 25-31 12 *", "0 6-18/3 * * *"),
    ],
)
@pytest.mark.parametrize("timezone", ["UTC", NEW_YORK, "Europe/Berlin"])
def test_an_ordinary_schedule_has_no_warning(expression: str, timezone: str) -> None:
    assert advice(expression, timezone) == []


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("* * * * * *", "runs every second, 86,400 runs a day"),
        ("* 0 6 * * *", "runs every second, 60 runs a day"),
        ("0,30 * * * * *", "runs 2 times a minute, 2,880 runs a day"),
        ("* 6 * * *", "runs 60 times, each minute from 06:00 to 06:59"),
    ],
)
def test_more_runs_than_meant_are_told(expression: str, text: str) -> None:
    assert text in only(advice(expression), "runs_very_often")


def test_a_short_interval_is_told_with_its_runs_a_day() -> None:
    message = only(advice("10s", kind="interval"), "runs_very_often")
    assert "every 10 seconds, 8,640 runs a day" in message
    assert advice("1m", kind="interval") == []


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("*/7 * * * *", "minute: '*/7' is 0, 7, …, 56, then 0 again, 4 minutes later"),
        ("5/7 * * * *", "minute: '5/7' is 5, 12, …, 54, then 5 again, 11 minutes later"),
        ("0 */5 * * *", "hour: '*/5' is 0, 5, 10, 15, 20, then 0 again, 4 hours later"),
        (
            "*/90 * * * *",
            "minute: '*/90' is 0 alone: the step leads past the end of the field; "
            "write an interval of 90m",
        ),
        ("0 0 */2 * *", "day-of-month: '*/2' is 1, 3, …, 31, then 1 again"),
        ("0 0 * * */2", "day-of-week: '*/2' is 0, 2, 4, 6, then 0 again, 1 day later"),
    ],
)
def test_a_step_that_does_not_divide_its_field_is_told(expression: str, text: str) -> None:
    message = only(advice(expression), "uneven_step")
    assert message.startswith(text)
    assert "write an interval of" in message


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("*/90 6 * * *", "'*/90' is 0 alone: the step leads past the end of the field; write 0"),
        ("0 9-17/9 * * *", "'9-17/9' is 9 alone: the step leads past the end of the range"),
        ("*/7 9-17 * * *", "minute: '*/7' is 0, 7, …, 56, then 0 again, 4 minutes later"),
        ("0 0 */2 * MON", "then 1 again; day-of-week 'MON' must match too"),
        ("0 0 1-7 * */7", "write * as day-of-month and SUN#1 as day-of-week"),
        ("0 0 1-10 * */7", "day-of-month '1-10' must match too; write * as day-of-month and SUN"),
    ],
)
def test_no_interval_is_advised_where_another_field_restricts(expression: str, text: str) -> None:
    message = only(advice(expression), "uneven_step")
    assert text in message
    assert "interval" not in message


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("0 0 13 * FRI", "either is enough; write * in one of them"),
        ("0 0 1-7 * MON", "for Monday of that week alone write * and MON#1"),
        ("0 0 1-31 * MON", "one of them is every day"),
    ],
)
def test_two_day_fields_either_of_which_is_enough_are_told(expression: str, text: str) -> None:
    assert text in only(advice(expression), "either_day")


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("0 0 30 2 MON", "'30' never comes in February: only day-of-week 'MON' makes it run"),
        ("0 0 31 4,5 *", "'31' does not come in April"),
        ("0 0 31 * *", "'31' does not come in February, April, June, September and November"),
        ("0 0 15,31 9 *", "'31' does not come in September"),
        ("0 0 30-31 * *", "'30-31' does not come in February"),
        ("0 0 29 2 *", "'29' comes in February in leap years only"),
        ("0 0 29 * *", "'29' comes in February in leap years only"),
    ],
)
def test_days_that_some_months_do_not_have_are_told(expression: str, text: str) -> None:
    assert text in only(advice(expression), "day_left_out")


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (
            "1d",
            "at 22:00 in place of 21:00; to keep 21:00, write the cron expression '0 21 * * *'",
        ),
        ("7d", "write the cron expression '0 21 * * MON'"),
        ("2d", "a cron expression keeps the time of day"),
    ],
)
def test_an_interval_of_days_is_told_to_drift_where_clocks_change(interval: str, text: str) -> None:
    message = only(advice(interval, NEW_YORK, kind="interval"), "interval_drifts")
    assert "2027-03-14" in message
    assert message.endswith(text)
    assert advice(interval, "UTC", kind="interval") == []
    assert advice("12h", NEW_YORK, kind="interval") == []


@pytest.mark.parametrize(
    ("expression", "timezone", "texts"),
    [
        (
            "30 2 * * *",
            NEW_YORK,
            ["02:30 does not exist on 2027-03-14 in America/New_York; runs at 03:00 EDT"],
        ),
        (
            "30 1 * * *",
            NEW_YORK,
            ["01:30 comes twice on 2027-11-07 in America/New_York; runs the first time, EDT"],
        ),
        (
            "0,30 2,3 * * *",
            NEW_YORK,
            [
                "02:00 does not exist on 2027-03-14 in America/New_York; runs at 03:00 EDT, "
                "one run in place of 3"
            ],
        ),
        (
            "0,20,40 1 * * *",
            NEW_YORK,
            [
                "01:00 comes twice on 2027-11-07 in America/New_York; runs the first time, EDT; "
                "so do 2 more runs"
            ],
        ),
        (
            "*/15 1 * * *",
            NEW_YORK,
            [
                "01:00 to 01:59 comes twice on 2027-11-07 in America/New_York: it runs 8 times, "
                "not 4; write a list in place of * to run once for each time"
            ],
        ),
        (
            "0 */6 * * *",
            "America/Havana",
            [
                "00:00 to 00:59 comes twice on 2027-11-07 in America/Havana: it runs twice; "
                "write a list in place of * to run once for each time"
            ],
        ),
        (
            "*/15 2 * * *",
            NEW_YORK,
            ["02:00 to 02:59 does not exist on 2027-03-14 in America/New_York: no run on that day"],
        ),
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            ["02:15 does not exist on 2027-10-03 in Australia/Lord_Howe; runs at 02:30 +11"],
        ),
        (
            "30 2 * * *",
            "Antarctica/Troll",
            [
                "02:30 does not exist on 2027-03-28 in Antarctica/Troll; runs at 03:00 +02",
                "02:30 comes twice on 2027-10-31 in Antarctica/Troll; runs the first time, +02",
            ],
        ),
        (
            "30 1 * * *",
            "Europe/Dublin",
            [
                "01:30 does not exist on 2027-03-28 in Europe/Dublin; runs at 02:00 IST",
                "01:30 comes twice on 2027-10-31 in Europe/Dublin; runs the first time, IST",
            ],
        ),
        (
            "0 0 * * *",
            "Asia/Beirut",
            ["00:00 does not exist on 2027-03-28 in Asia/Beirut; runs at 01:00 EEST"],
        ),
    ],
)
def test_clock_changes_of_the_coming_year_are_told_where_they_touch_a_run(
    expression: str, timezone: str, texts: list[str]
) -> None:
    found = advice(expression, timezone)
    assert {code for _, code, _ in found} == {"clock_change"}
    assert [message for *_, message in found] == texts


def test_a_missing_day_is_told() -> None:
    found = advice("0 12 * * *", "Pacific/Apia", now=at("2011-12-01T00:00:00Z"))
    assert (
        "12:00 does not exist on 2011-12-30 in Pacific/Apia; runs at 00:00 +14 on 2011-12-31"
        in (message for *_, message in found)
    )


def test_clock_changes_outside_of_the_bounds_are_not_told() -> None:
    assert advice("30 2 * * *", NEW_YORK, start_at=at("2027-03-15T00:00:00Z")) == []
    assert advice("30 2 * * *", NEW_YORK, end_at=at("2027-03-01T00:00:00Z")) == []
    assert advice("*/15 2 * * *", NEW_YORK, start_at=at("2027-03-15T00:00:00Z")) == []
    assert advice("30 2 * * MON-FRI", NEW_YORK) == []


@pytest.mark.parametrize("expression", ["30 1 * * *", "*/30 1 * * *"])
def test_a_clock_change_whose_runs_have_passed_is_not_told(expression: str) -> None:
    between = advice(expression, NEW_YORK, now=at("2027-11-07T05:45:00Z"))
    assert not [message for *_, message in between if "2027" in message]
    before = advice(expression, NEW_YORK, now=at("2027-11-07T05:15:00Z"))
    assert "2027-11-07" in before[0][2]


@pytest.mark.parametrize(
    ("timezone", "place"),
    [("EST", "America/New_York"), ("MST", "America/Phoenix"), ("HST", "Pacific/Honolulu")],
)
def test_a_zone_named_like_winter_time_is_told_to_have_no_summer_time(
    timezone: str, place: str
) -> None:
    (notice,) = zone_advice(timezone)
    assert (notice.pointer, notice.code) == ("/timezone", "no_summer_time")
    assert place in notice.message
    assert zone_advice(NEW_YORK) == []


def test_a_single_run_is_told_what_its_clock_change_does() -> None:
    message = only(advice("2035-03-11T02:30:00", NEW_YORK, kind="once"), "clock_change")
    assert "02:30 does not exist on 2035-03-11" in message


def test_bounds_that_leave_no_run_or_one_are_told() -> None:
    none = advice("0 6 * * *", end_at=at("2026-11-24T05:00:00Z"))
    assert "no run is left before end_at" in only(none, "series_ends", "/end_at")
    one = advice("0 6 * * *", end_at=at("2026-11-24T07:00:00Z"))
    assert "one run, on 2026-11-24 06:00 UTC" in only(one, "series_ends", "/end_at")
    assert advice("0 6 * * *", end_at=at("2026-11-26T07:00:00Z")) == []


def test_a_single_run_that_has_passed_is_told() -> None:
    message = only(advice("2020-01-01T06:00:00", kind="once"), "series_ends")
    assert message == "no run is left: its only one was on 2020-01-01 06:00 UTC"


def test_jitter_that_reaches_the_next_run_is_told() -> None:
    found = advice("*/15 * * * *", jitter_seconds=900)
    assert "15 minutes" in only(found, "jitter_too_long", "/jitter_seconds")
    assert advice("*/15 * * * *", jitter_seconds=899) == []
    assert advice("0 6 * * *", jitter_seconds=3_000) == []


def test_a_window_that_makes_up_for_nothing_is_told() -> None:
    found = advice("0 6 * * *", catch_up_window_seconds=300)
    only(found, "catch_up_window_too_short", "/catch_up_window_seconds")
    assert advice("0 6 * * *", catch_up_window_seconds=301) == []
    assert advice("0 6 * * *", catch_up_window_seconds=0, catch_up=CatchUp.NONE) == []


@given(EXPRESSIONS, st.sampled_from(["UTC", NEW_YORK, "Australia/Lord_Howe", "Asia/Gaza"]))
def test_every_valid_expression_can_be_looked_at(expression: str, timezone: str) -> None:
    try:
        validate_schedule(Schedule(type=ScheduleType.CRON, expression=expression), timezone)
    except ScheduleError:
        return
    for pointer, code, message in advice(expression, timezone):
        assert pointer.startswith("/")
        assert code
        assert "  " not in message
