from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.execution.rules.model import Attempt, StepRecord, StepState
from scheduler.execution.rules.outcome import Outcome, lost_attempts, record_after, step_after
from scheduler.execution.rules.retry import retry_delay
from scheduler.execution.rules.states import StepEvent, StepStatus
from scheduler.jobs.model import StepId, StepSpec

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
RUN = "job.20261123T020000Z"
RUNNING = StepState(id=StepId("one")).after(StepEvent.STARTS, attempt=1, fence="f")
FAILURE = Outcome(error_code="broken", error_message="it broke", retryable=True)


def spec(max_retries: int = 0, retry_delay: float = 30) -> StepSpec:
    return StepSpec(
        id=StepId("one"),
        name="one",
        type="scripted",
        config={},
        max_retries=max_retries,
        retry_delay=retry_delay,
    )


def record(*attempts: Attempt) -> StepRecord:
    return StepRecord(
        id=StepId("one"),
        name="one",
        type="scripted",
        status=StepStatus.RUNNING,
        attempts=attempts,
        fence="f",
        lease_until=NOW,
    )


def test_a_success_ends_the_step_and_takes_its_fence() -> None:
    after = step_after(RUNNING, spec(), Outcome(), RUN, NOW)
    assert (after.status, after.fence, after.failures) == (StepStatus.SUCCESS, None, 0)


@pytest.mark.parametrize(("failures", "status"), [(0, "retrying"), (1, "retrying"), (2, "failed")])
def test_a_retryable_failure_is_tried_again_max_retries_times(failures: int, status: str) -> None:
    before = replace(RUNNING, failures=failures)
    after = step_after(before, spec(max_retries=2), FAILURE, RUN, NOW)
    assert (after.status.value, after.failures, after.fence) == (status, failures + 1, None)
    delay = timedelta(seconds=retry_delay(30, failures + 1, f"{RUN}:one"))
    assert after.wake_at == (NOW + delay if status == "retrying" else None)


def test_interruptions_are_not_counted_as_failures() -> None:
    before = replace(RUNNING, attempt=4, interruptions=3)
    after = step_after(before, spec(max_retries=1), FAILURE, RUN, NOW)
    assert (after.status, after.failures) == (StepStatus.RETRYING, 1)


def test_a_failure_that_is_not_retryable_ends_the_step() -> None:
    failure = Outcome(error_code="broken", error_message="for good")
    after = step_after(RUNNING, spec(max_retries=9), failure, RUN, NOW)
    assert (after.status, after.wake_at) == (StepStatus.FAILED, None)


def test_a_step_that_ran_out_of_time_for_the_last_time_ends_so() -> None:
    late = Outcome(error_code="step_timeout", retryable=True, timed_out=True)
    assert step_after(RUNNING, spec(), late, RUN, NOW).status is StepStatus.TIMEOUT
    again = step_after(RUNNING, spec(max_retries=1), late, RUN, NOW)
    assert again.status is StepStatus.RETRYING


@pytest.mark.parametrize(
    ("asked", "waits"), [(5, 5), (0, 0), (-3, 0), (float("nan"), 0), (1e12, 7 * 86_400)]
)
def test_the_delay_that_a_failure_asks_for_is_kept_within_bounds(
    asked: float, waits: float
) -> None:
    failure = Outcome(error_code="busy", retryable=True, retry_after=asked)
    after = step_after(RUNNING, spec(max_retries=1), failure, RUN, NOW)
    assert after.wake_at == NOW + timedelta(seconds=waits)


def test_a_record_closes_the_last_attempt_and_keeps_those_before() -> None:
    first = Attempt(number=1, outcome="failed", start_time=NOW, end_time=NOW, error_code="x")
    second = Attempt(number=2, outcome="running", start_time=NOW)
    later = NOW + timedelta(seconds=9)
    after = record_after(record(first, second), StepStatus.FAILED, FAILURE, later)
    assert after.attempts[0] == first
    closed = after.attempts[1]
    assert (closed.outcome, closed.end_time, closed.error_code) == ("failed", later, "broken")
    assert (after.error_code, after.error_message) == ("broken", "it broke")
    assert (after.fence, after.lease_until, after.end_time) == (None, None, later)


def test_a_success_after_a_failure_leaves_no_error_on_the_step() -> None:
    running = Attempt(number=2, outcome="running", start_time=NOW)
    after = record_after(record(running), StepStatus.SUCCESS, Outcome(output="[1]"), NOW)
    assert (after.error_code, after.error_message, after.output) == (None, None, "[1]")
    assert after.attempts[0].outcome == "success"


def test_long_messages_are_cut_to_what_a_row_can_hold() -> None:
    running = Attempt(number=1, outcome="running", start_time=NOW)
    failure = Outcome(error_code="broken", error_message="x" * 99_999)
    after = record_after(record(running), StepStatus.FAILED, failure, NOW)
    assert len(after.error_message or "") == 4000
    assert len(after.attempts[0].error_message or "") <= 500


def test_the_attempt_of_a_dead_worker_is_closed_as_lost() -> None:
    running = Attempt(number=1, outcome="running", start_time=NOW)
    (lost,) = lost_attempts((running,), NOW)
    assert (lost.outcome, lost.error_code, lost.end_time) == ("lost", "worker_lost", NOW)
    assert lost_attempts((), NOW) == ()
