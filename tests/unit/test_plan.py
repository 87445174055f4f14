from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.dispatch.run_index import Announcement
from scheduler.jobs.due import Due
from scheduler.jobs.model import CatchUp, Job, JobId, Schedule, ScheduleType
from scheduler.schedule.plan import (
    LATE_SECONDS,
    MAX_CATCH_UP,
    MAX_RUNS_A_LOOK,
    plan_error,
    plan_job,
    plan_runs,
)
from scheduler.schedule.triggers import instants, jittered

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
HORIZON = timedelta(seconds=120)


def due_of(expression: str, behind: timedelta, **changes: Any) -> Due:  # noqa: ANN401
    """The due row of an interval job, its next run `behind` now."""
    schedule = Schedule(
        type=ScheduleType.INTERVAL, expression=expression, anchor=NOW - behind, **changes
    )
    job = Job(id=JobId("job"), name="job", schedule=schedule)
    due = plan_job(job, "r", NOW - behind - timedelta(seconds=1))
    assert due is not None
    assert due.nominal == NOW - behind
    return due


def minutes(runs: list[Announcement]) -> list[float]:
    """How many minutes from now the runs are."""
    return [(run.scheduled - NOW).total_seconds() / 60 for run in runs]


def split(due: Due) -> tuple[list[Announcement], list[Announcement]]:
    """The runs that a plan announces, and its records of runs given up."""
    announced = plan_runs(due, NOW, NOW + HORIZON).announcements
    started = [one for one in announced if one.skip_reason is None]
    return started, [one for one in announced if one.skip_reason is not None]


def test_a_paused_job_and_one_without_a_schedule_have_no_plan() -> None:
    schedule = Schedule(type=ScheduleType.CRON, expression="* * * * *")
    job = Job(id=JobId("job"), name="job", schedule=schedule)
    assert plan_job(job, "r", NOW) is not None
    assert plan_job(replace(job, enabled=False), "r", NOW) is None
    assert plan_job(replace(job, schedule=None), "r", NOW) is None


def test_a_series_that_is_over_has_no_following_row() -> None:
    due = due_of("1m", timedelta(0), end_at=NOW + timedelta(minutes=2))
    plan = plan_runs(due, NOW, NOW + HORIZON)
    assert minutes(list(plan.announcements)) == [0, 1]
    assert plan.following is None


def test_what_is_due_up_to_the_horizon_is_announced_and_the_row_moves_beyond() -> None:
    plan = plan_runs(due_of("30s", timedelta(0)), NOW, NOW + HORIZON)
    assert minutes(list(plan.announcements)) == [0, 0.5, 1, 1.5, 2]
    assert plan.following is not None
    assert plan.following.nominal == NOW + timedelta(seconds=150)


@pytest.mark.parametrize(
    ("policy", "started", "given_up"),
    [(CatchUp.LATEST, [-10], 2), (CatchUp.ALL, [-30, -20, -10], 0), (CatchUp.NONE, [], 3)],
)
def test_missed_runs_are_made_up_for_by_the_policy(
    policy: CatchUp, started: list[float], given_up: int
) -> None:
    runs, skips = split(due_of("10m", timedelta(minutes=30), catch_up=policy))
    assert minutes(runs) == [*started, 0]
    assert [skip.skip_count for skip in skips] == ([given_up] if given_up else [])


@pytest.mark.parametrize("policy", CatchUp)
def test_a_run_late_by_five_minutes_is_not_missed(policy: CatchUp) -> None:
    runs, skips = split(due_of("1d", timedelta(seconds=LATE_SECONDS), catch_up=policy))
    assert (minutes(runs), skips) == ([-5], [])


def test_what_is_older_than_the_window_is_not_made_up_for() -> None:
    due = due_of("10m", timedelta(hours=2), catch_up=CatchUp.ALL, catch_up_window_seconds=1800)
    runs, (skip,) = split(due)
    assert minutes(runs) == [-30, -20, -10, 0]
    assert skip.skip_count == 9
    assert "9 missed runs, due from 2026-11-23T00:00:00Z to 2026-11-23T01:20:00Z" in (
        skip.skip_reason or ""
    )


def test_no_more_than_a_hundred_runs_are_made_up_for() -> None:
    runs, (skip,) = split(due_of("10s", timedelta(minutes=60), catch_up=CatchUp.ALL))
    missed = [run for run in runs if run.scheduled < NOW - timedelta(seconds=LATE_SECONDS)]
    assert len(missed) == MAX_CATCH_UP
    assert skip.skip_count == 60 * 6 - 5 * 6 - MAX_CATCH_UP


def test_an_outage_of_weeks_makes_up_for_one_run_of_a_job_of_each_second() -> None:
    runs, skips = split(due_of("1s", timedelta(days=21)))
    late = timedelta(seconds=LATE_SECONDS)
    assert len([run for run in runs if run.scheduled < NOW - late]) == 1
    assert len(runs) == 1 + LATE_SECONDS + HORIZON.total_seconds() + 1
    assert len(skips) == 1
    assert skips[0].skip_count > MAX_RUNS_A_LOOK


def test_a_schedule_that_cannot_be_computed_is_looked_at_again_in_an_hour() -> None:
    due = due_of("1m", timedelta(0))
    waiting = plan_error(due, "nonsense", NOW)
    assert (waiting.at, waiting.nominal) == (NOW + timedelta(hours=1), due.nominal)
    assert waiting.error == "nonsense"
    following = plan_runs(waiting, NOW, NOW + HORIZON).following
    assert following is not None
    assert following.error is None


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 900),
    st.integers(0, 7200),
    st.sampled_from(CatchUp),
    st.integers(60, 7200),
    st.integers(0, 300),
)
def test_every_run_is_announced_once_or_given_up_and_none_is_lost(
    interval: int, behind: int, policy: CatchUp, window: int, jitter: int
) -> None:
    due = due_of(
        f"{interval}s",
        timedelta(seconds=behind),
        catch_up=policy,
        catch_up_window_seconds=window,
        jitter_seconds=jitter,
    )
    plan = plan_runs(due, NOW, NOW + HORIZON)
    started, skips = split(due)
    scheduled = [run.scheduled for run in started]
    assert scheduled == sorted(set(scheduled))
    assert plan.following is not None
    last = plan.following.nominal - timedelta(microseconds=1)
    series = [due.nominal, *instants(due.schedule, "UTC", due.nominal, last)]
    assert set(scheduled) <= set(series)
    given_up = sum(skip.skip_count for skip in skips)
    assert len(scheduled) + given_up == len(series)
    not_missed = {one for one in series if one >= NOW - timedelta(seconds=LATE_SECONDS)}
    assert not_missed <= set(scheduled)
    assert plan.following.nominal > NOW + HORIZON
    on_time = [run for run in started if run.due == jittered_due(run, jitter)]
    assert all(0 <= (run.due - run.scheduled).total_seconds() <= jitter for run in on_time)
    late = [run for run in started if run not in on_time]
    assert all(jittered_due(run, jitter) < NOW < run.due for run in late)
    assert [run.due for run in late] == sorted({run.due for run in late})


def jittered_due(run: Announcement, jitter: int) -> datetime:
    """When a run is due that is not late."""
    return jittered(run.scheduled, run.execution_id, jitter)
