"""What the English description of a schedule says, and that it always says something."""

from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ScheduleError
from scheduler.jobs.model import Schedule, ScheduleType
from scheduler.schedule.description import describe, describe_cron
from scheduler.schedule.fields import DAY, HOUR, MINUTE, MONTH, SECOND, WEEKDAY, Field
from scheduler.schedule.triggers import validate_schedule

NEW_YORK = "America/New_York"


def schedule(kind: str, expression: str, **more: Any) -> Schedule:  # noqa: ANN401
    return Schedule(type=ScheduleType(kind), expression=expression, **more)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("30 2 * * *", "At 02:30, every day"),
        ("0 6 * * MON-FRI", "At 06:00, from Monday to Friday"),
        ("0,30 6,18 * * *", "At 06:00, 06:30, 18:00 and 18:30, every day"),
        ("* * * * *", "Every minute"),
        ("*/15 * * * *", "Every 15 minutes"),
        ("5,35 * * * *", "At 5 and 35 minutes past the hour"),
        ("0 * * * *", "Every hour"),
        ("0 9-17 * * *", "Every hour from 09:00 to 17:00"),
        ("15 */2 * * *", "Every 2 hours from 00:15 to 22:15"),
        ("*/10 9-17 * * 1-5", "Every 10 minutes, from 09:00 to 17:59, from Monday to Friday"),
        ("*/10 6,9 * * *", "Every 10 minutes, in the hours that begin at 06:00 and 09:00"),
    ],
)
def test_five_fields_are_told_with_24_hour_times(expression: str, text: str) -> None:
    assert describe_cron(expression) == text


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("* * * * * *", "Every second"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("0 0 6 * * *", "At 06:00, every day"),
        ("30 0 6 * * *", "At 06:00:30, every day"),
        ("0 */5 * * * *", "Every 5 minutes"),
        ("* 0 6 * * *", "Every second, in the minute of 06:00"),
        ("*/10 15 9-17 * * *", "Every 10 seconds, in minute 15 of the hour, from 09:00 to 17:59"),
    ],
)
def test_six_fields_begin_with_the_second(expression: str, text: str) -> None:
    assert describe_cron(expression) == text


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("@hourly", "Every hour"),
        ("@daily", "At 00:00, every day"),
        ("@weekly", "At 00:00, on Sunday"),
        ("@monthly", "At 00:00, on day 1 of the month"),
        ("@yearly", "At 00:00, on day 1 of the month, in January"),
    ],
)
def test_macros_are_told_as_what_they_stand_for(expression: str, text: str) -> None:
    assert describe_cron(expression) == text


@pytest.mark.parametrize(
    ("day", "text"),
    [
        ("* * 0", "on Sunday"),
        ("* * 7", "on Sunday"),
        ("* * 0,7", "on Sunday"),
        ("* * 5-7", "from Friday to Sunday"),
        ("* * FRI-MON", "from Friday to Monday"),
        ("* * 1-1", "on Monday"),
        ("* * */2", "on Tuesday, Thursday, Saturday and Sunday"),
        ("* * MON#1", "on the first Monday of the month"),
        ("* * MON#1,WED#3", "on the first Monday and the third Wednesday of the month"),
        ("* * MON#1,FRI", "on Friday and on the first Monday of the month"),
        ("L * *", "on the last day of the month"),
        ("15,L * *", "on day 15 and the last day of the month"),
        ("1-7 * *", "on days 1 to 7 of the month"),
        ("*/2 * *", "on days 1, 3, 5, …, 31 of the month"),
        ("1 1,7 *", "on day 1 of the month, in January and July"),
        ("* 11-2 *", "every day, from November to February"),
        ("* jan-mar mon", "on Monday, from January to March"),
    ],
)
def test_days_are_told_by_name_and_number(day: str, text: str) -> None:
    assert describe_cron(f"0 6 {day}") == f"At 06:00, {text}"


@pytest.mark.parametrize(
    ("day", "text"),
    [
        ("1 * MON", "on day 1 of the month, and also on Monday"),
        ("*/2 * MON", "on days 1, 3, 5, …, 31 of the month, but only on Monday"),
        ("13 * */5", "on day 13 of the month, but only on Friday and Sunday"),
        ("1-31 * MON", "every day"),
        ("*,5 * MON", "on Monday"),
        ("30 2 MON", "on Monday, in February"),
    ],
)
def test_two_day_fields_are_told_as_both_or_either(day: str, text: str) -> None:
    assert describe_cron(f"0 6 {day}") == f"At 06:00, {text}"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("*/7 * * * *", "At 0, 7, 14, 21, 28, 35, 42, 49 and 56 minutes past the hour"),
        ("0 */5 * * *", "At 00:00, 05:00, 10:00, 15:00 and 20:00, every day"),
        ("*/90 * * * *", "Every hour"),
        ("0 22-2 * * *", "At 22:00, 23:00, 00:00, 01:00 and 02:00, every day"),
        ("*/20 22-2 * * *", "Every 20 minutes, from 22:00 to 02:59"),
    ],
)
def test_uneven_steps_and_spans_past_midnight_are_told_as_they_run(
    expression: str, text: str
) -> None:
    assert describe_cron(expression) == text


def test_an_interval_names_its_anchor_on_the_zones_clock() -> None:
    anchor = datetime.fromisoformat("2026-11-24T08:15:30Z")
    told = describe(schedule("interval", "P1DT2H", anchor=anchor), NEW_YORK)
    assert told == "Every 1 day 2 hours, counted from 2026-11-24 03:15:30 EST"


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("2027-03-13T02:30:00", "Once, on 2027-03-13 at 02:30"),
        ("2027-03-13T07:30:00Z", "Once, on 2027-03-13 at 02:30 EST"),
        (
            "2027-03-14T02:30:00",
            "Once, on 2027-03-14 at 02:30 (02:30 does not exist on 2027-03-14 in "
            "America/New_York; runs at 03:00 EDT)",
        ),
        (
            "2027-11-07T01:30:00",
            "Once, on 2027-11-07 at 01:30 (01:30 comes twice on 2027-11-07 in "
            "America/New_York; runs the first time, EDT)",
        ),
    ],
)
def test_a_single_run_is_told_with_what_a_clock_change_does(expression: str, text: str) -> None:
    assert describe(schedule("once", expression), NEW_YORK) == text


def test_bounds_and_jitter_are_told() -> None:
    told = describe(
        schedule(
            "cron",
            "0 6 * * *",
            start_at=datetime.fromisoformat("2026-12-01T00:00:00-05:00"),
            end_at=datetime.fromisoformat("2027-07-01T04:00:00Z"),
            jitter_seconds=90,
        ),
        NEW_YORK,
    )
    assert told == (
        "At 06:00, every day; not before 2026-12-01 00:00 EST; ends before 2027-07-01 00:00 EDT; "
        "each run starts up to 1 minute 30 seconds later"
    )


def _texts(field: Field) -> st.SearchStrategy[str]:
    number = st.integers(field.low, field.high).map(str)
    step = st.integers(1, 70).map(str)
    item = st.one_of(
        st.just("*"),
        number,
        st.builds("{}-{}".format, number, number),
        st.builds("*/{}".format, step),
        st.builds("{}/{}".format, number, step),
        st.builds("{}-{}/{}".format, number, number, step),
    )
    if field is DAY:
        item |= st.just("L")
    if field is WEEKDAY:
        item |= st.builds("{}#{}".format, number, st.integers(1, 5)) | st.just("FRI-MON")
    return st.lists(item, min_size=1, max_size=3).map(",".join)


FIVE = st.tuples(*map(_texts, (MINUTE, HOUR, DAY, MONTH, WEEKDAY))).map(" ".join)
EXPRESSIONS = FIVE | st.builds("{} {}".format, _texts(SECOND), FIVE)


@given(EXPRESSIONS)
def test_every_valid_expression_has_a_description(expression: str) -> None:
    asked = schedule("cron", expression)
    try:
        validate_schedule(asked, "UTC")
    except ScheduleError:
        return
    told = describe(asked, "UTC")
    assert told[0].isupper()
    assert "  " not in told
    assert "%" not in told
