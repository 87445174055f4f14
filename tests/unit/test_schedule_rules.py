"""The eight rules of schedules, each with a test that bears its number."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.dispatch.ids import scheduled_id
from scheduler.errors import ScheduleError
from scheduler.jobs.model import Job, JobId, Schedule, ScheduleType
from scheduler.schedule.plan import derived_again, plan_job, plan_runs
from scheduler.schedule.triggers import (
    first_instant,
    instants,
    jittered,
    next_instant,
    preview,
    validate_schedule,
)
from scheduler.schedule.zones import tzdata_version

NEW_YORK, LORD_HOWE = "America/New_York", "Australia/Lord_Howe"
HAVANA, TROLL, APIA = "America/Havana", "Antarctica/Troll", "Pacific/Apia"
NOW = datetime(2026, 11, 24, tzinfo=UTC)
DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def schedule(kind: ScheduleType, expression: str, **more: Any) -> Schedule:  # noqa: ANN401
    return Schedule(type=kind, expression=expression, **more)


def cron(expression: str, **more: Any) -> Schedule:  # noqa: ANN401
    return schedule(ScheduleType.CRON, expression, **more)


def every(expression: str, anchor: str) -> Schedule:
    return schedule(ScheduleType.INTERVAL, expression, anchor=at(anchor))


def once(expression: str) -> Schedule:
    return schedule(ScheduleType.ONCE, expression)


def local(made: Schedule, zone: str, after: str, count: int) -> list[str]:
    return [run["local"] for run in preview(made, zone, at(after), count)]


@pytest.mark.parametrize(
    ("made", "asked", "following"),
    [
        (cron("0 9 * * *"), "2026-11-24T09:00:00Z", "2026-11-25T09:00:00Z"),
        (cron("0 9 * * *"), "2026-11-24T08:59:59.999999Z", "2026-11-24T09:00:00Z"),
        (cron("*/5 * * * *"), "2026-11-24T09:00:00.000001Z", "2026-11-24T09:05:00Z"),
        (cron("* * * * * *"), "2026-11-24T09:00:00.5Z", "2026-11-24T09:00:01Z"),
        (every("1h", "2026-11-24T00:00Z"), "2026-11-24T09:00:00Z", "2026-11-24T10:00:00Z"),
        (once("2026-11-24T09:00"), "2026-11-24T08:59:59.999999Z", "2026-11-24T09:00:00Z"),
        (once("2026-11-24T09:00"), "2026-11-24T09:00:00Z", None),
    ],
)
def test_rule_1_the_next_run_is_strictly_after(
    made: Schedule, asked: str, following: str | None
) -> None:
    expected = None if following is None else at(following)
    assert next_instant(made, "UTC", at(asked)) == expected


@pytest.mark.parametrize(
    ("expression", "zone", "after", "runs"),
    [
        # The gap: nothing of 02:00 to 03:00.
        ("30 * * * *", NEW_YORK, "2027-03-14T06:00Z", ["01:30:00-05:00", "03:30:00-04:00"]),
        ("*/30 2 * * *", NEW_YORK, "2027-03-14T06:00Z", ["02:00:00-04:00", "02:30:00-04:00"]),
        ("15 * * * *", LORD_HOWE, "2026-10-03T15:00Z", ["03:15:00+11:00", "04:15:00+11:00"]),
        ("0 * * * *", HAVANA, "2028-03-12T03:30Z", ["23:00:00-05:00", "01:00:00-04:00"]),
        # The overlap: both passes.
        ("30 * * * *", NEW_YORK, "2027-11-07T05:00Z", ["01:30:00-04:00", "01:30:00-05:00"]),
        ("45 * * * *", LORD_HOWE, "2027-04-03T14:30Z", ["01:45:00+11:00", "01:45:00+10:30"]),
        ("* 1 * * *", NEW_YORK, "2027-11-07T06:58Z", ["01:59:00-05:00", "01:00:00-05:00"]),
        ("*/30 1 * * *", NEW_YORK, "2027-11-07T05:30Z", ["01:00:00-05:00", "01:30:00-05:00"]),
    ],
)
def test_rule_2_a_wildcard_job_runs_at_every_real_minute_that_matches(
    expression: str, zone: str, after: str, runs: list[str]
) -> None:
    assert [run[11:] for run in local(cron(expression), zone, after, len(runs))] == runs


@pytest.mark.parametrize(
    ("expression", "zone", "after", "runs"),
    [
        # A gap: the first instant after it, and only once.
        ("30 2 * * *", NEW_YORK, "2027-03-14T05:00Z", ["14T03:00:00-04:00", "15T02:30:00-04:00"]),
        ("0-59 2 * * *", NEW_YORK, "2027-03-14T05:00Z", ["14T03:00:00-04:00", "15T02:00:00-04:00"]),
        ("0 2,3 * * *", NEW_YORK, "2027-03-14T05:00Z", ["14T03:00:00-04:00", "15T02:00:00-04:00"]),
        ("0 0 * * *", HAVANA, "2028-03-11T12:00Z", ["12T01:00:00-04:00", "13T00:00:00-04:00"]),
        ("15 2 * * *", LORD_HOWE, "2027-10-02T12:00Z", ["03T02:30:00+11:00", "04T02:15:00+11:00"]),
        ("30 1 * * *", TROLL, "2027-03-27T12:00Z", ["28T03:00:00+02:00", "29T01:30:00+02:00"]),
        ("0 8 * * *", APIA, "2011-12-29T19:00Z", ["31T00:00:00+14:00", "31T08:00:00+14:00"]),
        # An overlap: the first of two, also when looked for from the second pass.
        ("30 1 * * *", NEW_YORK, "2027-11-07T04:00Z", ["07T01:30:00-04:00", "08T01:30:00-05:00"]),
        ("30 1 * * *", NEW_YORK, "2027-11-07T06:10Z", ["08T01:30:00-05:00", "09T01:30:00-05:00"]),
        ("0,30 1,2 * * *", NEW_YORK, "2027-11-07T06:10Z", ["07T02:00:00-05:00"]),
        ("45 1 * * *", LORD_HOWE, "2027-04-03T12:00Z", ["04T01:45:00+11:00", "05T01:45:00+10:30"]),
        ("30 1 * * *", TROLL, "2027-10-30T12:00Z", ["31T01:30:00+02:00", "01T01:30:00+00:00"]),
    ],
)
def test_rule_3_a_fixed_time_is_one_instant(
    expression: str, zone: str, after: str, runs: list[str]
) -> None:
    assert [run[8:] for run in local(cron(expression), zone, after, len(runs))] == runs


@pytest.mark.parametrize(
    ("expression", "days"),
    [
        ("0 0 13 * FRI", ["2026-11-27", "2026-12-04", "2026-12-11", "2026-12-13"]),
        ("0 0 */10 * MON", ["2026-12-21", "2027-01-11", "2027-02-01"]),
        ("0 0 1-7 * */3", ["2026-12-02", "2026-12-05", "2026-12-06"]),
        ("0 0 * * 7", ["2026-11-29", "2026-12-06"]),
        ("0 0 * * 0", ["2026-11-29", "2026-12-06"]),
        ("0 0 * * 6-7", ["2026-11-28", "2026-11-29", "2026-12-05"]),
        ("0 0 5-5 * *", ["2026-12-05", "2027-01-05"]),
        ("0 0 L * MON#1", ["2026-11-30", "2026-12-07", "2026-12-31"]),
    ],
)
def test_rule_4_both_day_fields_when_one_begins_with_a_star_else_either(
    expression: str, days: list[str]
) -> None:
    found = local(cron(expression), "UTC", "2026-11-24T00:00Z", len(days))
    assert [run[:10] for run in found] == days


@pytest.mark.parametrize(
    ("text", "anchor", "after", "runs"),
    [
        ("1d", "2027-03-13T07:30Z", "2027-03-13T07:30Z", ["2027-03-14T03:30:00-04:00"]),
        ("12h", "2027-11-07T04:00Z", "2027-11-07T04:00Z", ["2027-11-07T11:00:00-05:00"]),
        ("7s", "2027-01-01T00:00:00Z", "2027-01-01T00:00:20Z", ["2026-12-31T19:00:21-05:00"]),
        ("1s", "2027-01-01T00:00:00.9Z", "2027-01-01T00:00:00Z", ["2026-12-31T19:00:01-05:00"]),
        ("P1D", "2028-01-01T05:00Z", "2027-01-01T05:00Z", ["2028-01-01T00:00:00-05:00"]),
    ],
)
def test_rule_5_an_interval_is_elapsed_time_from_its_anchor(
    text: str, anchor: str, after: str, runs: list[str]
) -> None:
    assert local(every(text, anchor), NEW_YORK, after, len(runs)) == runs


def test_rule_5_jitter_is_the_same_at_each_sending_and_zero_is_no_interval() -> None:
    due = jittered(NOW, "job.20261124T000000Z", 3600)
    assert due == jittered(NOW, "job.20261124T000000Z", 3600)
    assert NOW <= due <= NOW + timedelta(hours=1)
    with pytest.raises(ScheduleError, match="from 1s"):
        validate_schedule(schedule(ScheduleType.INTERVAL, "0s"), "UTC")


@pytest.mark.parametrize(
    ("text", "utc", "adjusted"),
    [
        ("2027-03-14T02:30", "2027-03-14T07:00:00Z", True),
        ("2027-11-07T01:30", "2027-11-07T05:30:00Z", False),
        ("2027-11-07T01:30-05:00", "2027-11-07T06:30:00Z", False),
        ("2027-03-14T02:30Z", "2027-03-14T02:30:00Z", False),
        ("2027-06-01T12:00", "2027-06-01T16:00:00Z", False),
    ],
)
def test_rule_6_a_single_time_is_wall_time_unless_it_has_an_offset(
    text: str, utc: str, adjusted: bool
) -> None:
    (run,) = preview(once(text), NEW_YORK, NOW, 5)
    assert (run["utc"], run["adjusted"]) == (utc, adjusted)


def test_rule_7_instants_are_derived_again_from_expression_and_zone() -> None:
    job = Job(id=JobId("j"), name="j", timezone=NEW_YORK, schedule=cron("30 2 * * *"))
    due = plan_job(job, "r", at("2027-03-14T00:00Z"))
    assert due is not None
    assert (due.schedule, due.timezone, due.tzdata) == (job.schedule, NEW_YORK, tzdata_version())
    old = replace(due, nominal=due.nominal + DAY, at=due.at + DAY, tzdata="2020a")
    assert derived_again(old, at("2027-03-14T00:00Z")) == due
    assert due.nominal == at("2027-03-14T07:00Z")


def test_rule_8_runs_lie_from_start_at_up_to_but_not_at_end_at() -> None:
    bounds: dict[str, Any] = {
        "start_at": at("2026-12-01T10:00Z"),
        "end_at": at("2026-12-01T12:00Z"),
    }
    expected = [at("2026-12-01T10:00Z"), at("2026-12-01T11:00Z")]
    for made in (cron("0 * * * *", **bounds), replace(every("1h", "2026-01-01T00:00Z"), **bounds)):
        assert list(instants(made, "UTC", NOW, NOW + 30 * DAY)) == expected


def test_rule_8_ids_are_of_the_nominal_instant_and_starts_of_the_jittered() -> None:
    made = cron("0 9 * * *", jitter_seconds=3600)
    job = Job(id=JobId("j"), name="j", schedule=made)
    due = plan_job(job, "r", NOW)
    assert due is not None
    (run,) = plan_runs(due, due.nominal, due.nominal + timedelta(minutes=2)).announcements
    assert run.scheduled == at("2026-11-24T09:00Z")
    assert run.execution_id == scheduled_id("j", run.scheduled)
    assert run.due == jittered(run.scheduled, run.execution_id, 3600)


@pytest.mark.parametrize("expression", ["0 0 ? * *", "0 0 15W * *", "0 0 * * 5L", "0 0 30 2 *"])
def test_rule_8_foreign_notation_is_refused_with_what_to_write(expression: str) -> None:
    with pytest.raises(ScheduleError, match="write"):
        validate_schedule(cron(expression), "UTC")


def test_rule_8_no_run_within_eight_years_is_refused_at_first_and_ends_a_series_later() -> None:
    leap_mondays = cron("0 0 * 2 MON#5")
    with pytest.raises(ScheduleError, match="no run within 8 years"):
        validate_schedule(leap_mondays, "UTC", NOW)
    assert first_instant(leap_mondays, "UTC", NOW) is None
    assert next_instant(cron("0 0 29 2 *"), "UTC", at("2096-02-29T00:00Z")) == at("2104-02-29")
    assert first_instant(leap_mondays, "UTC", at("2043-01-01")) == at("2044-02-29")
    assert next_instant(leap_mondays, "UTC", at("2044-02-29")) is None
