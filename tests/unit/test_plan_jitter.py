"""Jitter moves only the start of a run: it loses none, repeats none, and starts none early."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.dispatch.run_index import Announcement
from scheduler.jobs.due import Due
from scheduler.jobs.model import CatchUp, Job, JobId, Schedule, ScheduleType
from scheduler.schedule.plan import LATE_SECONDS, plan_job, plan_runs

START = datetime(2026, 11, 23, 2, 0, 10, tzinfo=UTC)
HORIZON = timedelta(seconds=120)
MINUTE = timedelta(minutes=1)


def minutely(jitter: int, catch_up: CatchUp) -> Due:
    schedule = Schedule(
        type=ScheduleType.CRON, expression="* * * * *", jitter_seconds=jitter, catch_up=catch_up
    )
    due = plan_job(Job(id=JobId("job"), name="job", schedule=schedule), "r", START)
    assert due is not None
    return due


def ticks(due: Due, pauses: Iterable[timedelta]) -> Iterator[tuple[datetime, list[Announcement]]]:
    """What each tick announces that looks at the due row, and when it looks."""
    now = START
    for pause in pauses:
        now += pause
        if due.at >= now + HORIZON:
            continue
        plan = plan_runs(due, now, now + HORIZON)
        yield now, list(plan.announcements)
        assert plan.following is not None
        assert plan.following.nominal > due.nominal
        due = plan.following


def check(looks: list[tuple[datetime, list[Announcement]]], jitter: int) -> int:
    """Every nominal instant is announced exactly once, in order; returns how many there are."""
    runs = [run for _, batch in looks for run in batch]
    assert [run.skip_reason for run in runs] == [None] * len(runs)
    assert runs[0].scheduled == START.replace(minute=1, second=0)
    assert {later.scheduled - run.scheduled for run, later in pairwise(runs)} == {MINUTE}
    assert len({run.execution_id for run in runs}) == len(runs)
    for now, batch in looks:
        for run in batch:
            # One that is late already starts a second or so from now, in its turn.
            late = (now - run.scheduled).total_seconds() + len(batch)
            assert 0 <= (run.due - run.scheduled).total_seconds() <= max(jitter, late)
    return len(runs)


@pytest.mark.parametrize("jitter", [0, 59, 600, 1800, 3600])
@pytest.mark.parametrize("catch_up", list(CatchUp))
def test_a_minutely_job_with_any_jitter_announces_each_of_its_runs_once_and_in_time(
    jitter: int, catch_up: CatchUp
) -> None:
    looks = list(ticks(minutely(jitter, catch_up), [MINUTE] * 400))
    assert check(looks, jitter) >= 399
    assert all(run.scheduled >= now - MINUTE for now, batch in looks for run in batch)


@settings(max_examples=60, deadline=None)
@given(
    jitter=st.integers(0, 3_600),
    pauses=st.lists(st.integers(1, LATE_SECONDS - 10), min_size=2, max_size=80),
    catch_up=st.sampled_from(CatchUp),
)
def test_ticks_that_come_late_by_less_than_the_limit_lose_no_jittered_run(
    jitter: int, pauses: list[int], catch_up: CatchUp
) -> None:
    looks = list(ticks(minutely(jitter, catch_up), [timedelta(seconds=one) for one in pauses]))
    if looks:
        check(looks, jitter)


def test_a_jittered_run_is_missed_only_when_its_jitter_is_over_too() -> None:
    jitter = 3_600
    due = minutely(jitter, CatchUp.NONE)
    late = due.nominal + timedelta(seconds=LATE_SECONDS + jitter)
    on_time = plan_runs(due, late, late + HORIZON).announcements
    assert (on_time[0].scheduled, on_time[0].skip_reason) == (due.nominal, None)
    missed = plan_runs(due, late + timedelta(seconds=1), late + HORIZON).announcements
    assert [run.skip_reason is None for run in missed] == [True] * (len(missed) - 1) + [False]
    assert missed[-1].skip_count == 1
