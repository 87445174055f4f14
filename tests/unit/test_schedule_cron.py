import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler.errors import ScheduleError
from scheduler.schedule import next_runs
from scheduler.schedule.cron import Cron

CASES = Path(__file__).with_name("cron-cases.jsonl").read_text().splitlines()
NEW_YORK = "America/New_York"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def runs(expression: str, zone: str, after: str, count: int = 3) -> list[str]:
    return [
        run.isoformat().replace("+00:00", "Z")
        for run in next_runs(expression, zone, at(after), count)
    ]


def case(line: str) -> Any:  # noqa: ANN401
    content = json.loads(line)
    return pytest.param(content, id=f"{content['class']}: {content['expr']} {content['tz']}")


@pytest.mark.parametrize("content", [case(line) for line in CASES])
def test_an_open_case(content: dict[str, Any]) -> None:
    expected = content["expected_utc"]
    assert runs(content["expr"], content["tz"], content["start_utc"], len(expected)) == [
        text.replace(".000", "") for text in expected
    ]


def test_the_next_run_is_strictly_after() -> None:
    assert runs("0 9 * * *", "UTC", "2026-11-24T09:00:00Z", 1) == ["2026-11-25T09:00:00Z"]
    assert runs("0 9 * * *", "UTC", "2026-11-24T08:59:59.999Z", 1) == ["2026-11-24T09:00:00Z"]
    assert runs("0 9 * * *", "UTC", "2026-11-24T09:00:00.001Z", 1) == ["2026-11-25T09:00:00Z"]


def test_a_wildcard_job_has_no_run_in_a_gap_and_runs_in_both_passes() -> None:
    assert runs("30 * * * *", NEW_YORK, "2027-03-14T06:00Z", 2) == [
        "2027-03-14T06:30:00Z",
        "2027-03-14T07:30:00Z",
    ]
    assert runs("*/30 1 * * *", NEW_YORK, "2027-11-07T04:00Z", 5) == [
        "2027-11-07T05:00:00Z",
        "2027-11-07T05:30:00Z",
        "2027-11-07T06:00:00Z",
        "2027-11-07T06:30:00Z",
        "2027-11-08T06:00:00Z",
    ]


def test_a_fixed_time_runs_once_in_an_overlap_and_at_the_end_of_a_gap() -> None:
    assert runs("30 1 * * *", NEW_YORK, "2027-11-07T04:00Z", 2) == [
        "2027-11-07T05:30:00Z",
        "2027-11-08T06:30:00Z",
    ]
    assert runs("30 2 * * *", NEW_YORK, "2027-03-14T05:00Z", 2) == [
        "2027-03-14T07:00:00Z",
        "2027-03-15T06:30:00Z",
    ]


def test_fixed_times_that_meet_at_the_end_of_a_gap_run_once() -> None:
    assert runs("0,15 2,3 * * *", NEW_YORK, "2027-03-14T05:00Z", 3) == [
        "2027-03-14T07:00:00Z",
        "2027-03-14T07:15:00Z",
        "2027-03-15T06:00:00Z",
    ]


def test_a_fixed_time_is_not_run_again_from_inside_the_second_pass() -> None:
    assert runs("30 1 * * *", NEW_YORK, "2027-11-07T06:10Z", 1) == ["2027-11-08T06:30:00Z"]


def test_every_second_of_a_gap_costs_one_step_not_thousands() -> None:
    assert runs("0-59 0-59 0-23 * * *", "Pacific/Apia", "2011-12-30T09:59:58Z", 3) == [
        "2011-12-30T09:59:59Z",
        "2011-12-30T10:00:00Z",
        "2011-12-30T10:00:01Z",
    ]


def test_seconds_lead_when_there_are_six_fields() -> None:
    assert runs("*/20 30 9 * * MON", "Asia/Tokyo", "2026-11-24T00:00Z", 2) == [
        "2026-11-30T00:30:00Z",
        "2026-11-30T00:30:20Z",
    ]


def test_both_day_fields_must_match_when_either_begins_with_a_star() -> None:
    assert runs("0 0 */10 * MON", "UTC", "2026-11-24T00:00Z", 2) == [
        "2026-12-21T00:00:00Z",
        "2027-01-11T00:00:00Z",
    ]


def test_either_day_field_is_enough_when_neither_begins_with_a_star() -> None:
    assert runs("0 0 25 * FRI#1", "UTC", "2026-11-24T00:00Z", 3) == [
        "2026-11-25T00:00:00Z",
        "2026-12-04T00:00:00Z",
        "2026-12-25T00:00:00Z",
    ]


def test_weekdays_and_weeks_of_the_month_may_stand_in_one_list() -> None:
    assert runs("0 0 * * SUN,WED#1", "UTC", "2026-11-24T00:00Z", 3) == [
        "2026-11-29T00:00:00Z",
        "2026-12-02T00:00:00Z",
        "2026-12-06T00:00:00Z",
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("5-5 1 * * *", "5 1 * * *"),
        ("0 0 * * 7-7", "0 0 * * 0"),
        ("0 0 * * 0-7", "0 0 * * *"),
        ("0 0 * * SAT-MON", "0 0 * * 0,1,6"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 22-2 * * *", "0 0,1,2,22,23 * * *"),
        ("5/20 1 * * *", "5,25,45 1 * * *"),
        ("50-10/10 1 * * *", "50,0,10 1 * * *"),
        ("0 0 1 jan,DEC *", "0 0 1 1,12 *"),
        ("  0\t0 1  1 * ", "0 0 1 1 *"),
        ("07 008 * * *", "7 8 * * *"),
        ("0 0 * nov-FEB fri-Mon", "0 0 * 1,2,11,12 0,1,5,6"),
        ("0\n0\n*\n*\n*", "0 0 * * *"),
        ("*/99999 * * * *", "*/60 * * * *"),
        ("*/90 * * * *", "0 * * * *"),
        ("@hourly", "0 * * * *"),
        ("@Daily", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
    ],
)
def test_an_expression_means_what_its_plain_form_says(written: str, meant: str) -> None:
    assert Cron.parse(written).patterns == Cron.parse(meant).patterns
    assert Cron.parse(written).wildcard == Cron.parse(meant).wildcard


def test_a_date_that_never_comes_beside_a_weekday_leaves_the_weekday() -> None:
    assert runs("0 0 30 2 MON", "UTC", "2026-11-24T00:00Z", 1) == ["2027-02-01T00:00:00Z"]


def test_a_series_ends_before_a_pause_of_over_eight_years() -> None:
    assert runs("0 0 29 2 *", "UTC", "2096-02-29T00:00Z", 1) == ["2104-02-29T00:00:00Z"]
    assert runs("0 0 * 2 FRI#5", "UTC", "2004-01-01T00:00Z", 9) == ["2008-02-29T00:00:00Z"]
    assert runs("0 0 * 2 FRI#5", "UTC", "2026-11-24T00:00Z", 9) == []


def test_names_of_zones_are_read_in_any_case() -> None:
    assert runs("0 9 * * *", "europe/LONDON", "2026-07-01T00:00Z", 1) == ["2026-07-01T08:00:00Z"]


def test_no_runs_are_asked_for_and_none_come() -> None:
    assert runs("* * * * *", "UTC", "2026-11-24T00:00Z", 0) == []


@pytest.mark.parametrize(
    "after", [datetime(2026, 1, 1), datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
def test_a_start_without_offset_or_out_of_range_is_refused(after: datetime) -> None:
    with pytest.raises(ScheduleError, match="write an instant with an offset"):
        next_runs("* * * * *", "UTC", after, 1)


def test_the_last_years_are_reached_without_a_fault() -> None:
    start = datetime(9900, 6, 1, tzinfo=UTC)
    (run,) = next_runs("0 0 29 2 *", "Asia/Tokyo", start, 1)
    assert run - start < timedelta(days=2922)
