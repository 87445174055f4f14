"""How an attempt ended, and what that makes of its step."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from scheduler.execution.rules.model import Attempt, StepRecord, StepState
from scheduler.execution.rules.retry import retry_delay
from scheduler.execution.rules.states import StepEvent, StepStatus
from scheduler.jobs.model import StepSpec

LOST = "lost"
"""The outcome of an attempt whose worker died."""
_MESSAGE_CHARACTERS = 4000
_LOGGED_CHARACTERS = 300
_LONGEST_RETRY_AFTER = 7 * 24 * 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of an attempt, or of one look of it: a success when there is no `error_code`.

    `output` is JSON text; when `output_truncated` the first part of it, or where it is but a text,
    of that text, and the whole is in `output_blob`. With
    `look_at` the attempt waits for its next look, which gets `waiting_state` (JSON text), and at
    the longest until `wait_until`.
    """

    error_code: str | None = None
    error_message: str = ""
    retryable: bool = False
    retry_after: float | None = None
    timed_out: bool = False
    cancelled: bool = False
    output: str | None = None
    output_is_text: bool = False
    output_truncated: bool = False
    output_blob: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    look_at: datetime | None = None
    wait_until: datetime | None = None
    waiting_state: str | None = None
    published: Mapping[str, Any] | None = None

    @property
    def is_bare(self) -> bool:
        """Whether nothing is left of it that could be left out."""
        return self.output is None and self.metadata.keys() <= {"output_error"}

    def without_output(self, reason: str) -> "Outcome":
        """The same outcome, without what storage refuses to keep."""
        return replace(
            self,
            output=None,
            output_is_text=False,
            output_truncated=False,
            output_blob=None,
            metadata={"output_error": reason[:_LOGGED_CHARACTERS]},
        )


DIED_CANCELLED = Outcome(
    error_code="step_cancelled",
    error_message="its worker died, and the execution was cancelled: what it did is unknown",
    cancelled=True,
)


_LEFT = "and its definition is lost: what the step waited for was not ended"
LEFT_CANCELLED = Outcome(
    error_code="step_cancelled",
    error_message=f"the execution was cancelled, {_LEFT}",
    cancelled=True,
)
LEFT_OUT_OF_TIME = Outcome(
    error_code="step_timeout",
    error_message=f"the job's timeout_seconds were over, {_LEFT}",
    timed_out=True,
)


def step_after(
    state: StepState, spec: StepSpec, outcome: Outcome, execution_id: str, now: datetime
) -> StepState:
    """The step's state after an attempt: done, failed, or waiting for its next try."""
    if outcome.look_at is not None:
        return state.after(
            StepEvent.WILL_LOOK_AGAIN,
            fence=None,
            interruptions=0,
            wake_at=outcome.look_at,
            wait_until=outcome.wait_until,
        )
    if outcome.error_code is None:
        return state.after(StepEvent.SUCCEEDS, fence=None)
    if outcome.cancelled:
        return state.after(StepEvent.IS_CANCELLED, fence=None)
    failures = state.failures + 1
    if outcome.retryable and failures <= spec.max_retries:
        seed = f"{execution_id}:{state.id}"
        delay = outcome.retry_after
        if delay is None:
            delay = retry_delay(spec.retry_delay, failures, seed)
        delay = min(max(delay, 0), _LONGEST_RETRY_AFTER) if delay == delay else 0
        wake_at = now + timedelta(seconds=delay)
        return state.after(StepEvent.WILL_RETRY, fence=None, failures=failures, wake_at=wake_at)
    event = StepEvent.RUNS_OUT_OF_TIME if outcome.timed_out else StepEvent.FAILS
    return state.after(event, fence=None, failures=failures)


def record_after(
    record: StepRecord, status: StepStatus, outcome: Outcome, now: datetime
) -> StepRecord:
    """The step's row after an attempt, or after one look of it."""
    if outcome.look_at is not None:
        return replace(
            record,
            status=status,
            fence=None,
            lease_until=None,
            waiting_state=outcome.waiting_state,
            metadata=dict(outcome.metadata),
        )
    failed = outcome.error_code is not None
    return replace(
        record,
        status=status,
        attempts=_closed(record.attempts, _word(outcome), outcome, now),
        fence=None,
        lease_until=None,
        end_time=now,
        output=outcome.output,
        output_is_text=outcome.output_is_text,
        output_truncated=outcome.output_truncated,
        output_blob=outcome.output_blob,
        error_code=outcome.error_code,
        error_message=outcome.error_message[:_MESSAGE_CHARACTERS] if failed else None,
        metadata=dict(outcome.metadata),
        waiting_state=None,
        published=outcome.published,
    )


def cancelled_record(record: StepRecord, now: datetime) -> StepRecord:
    """The row of a step whose worker died, or that waits, once nobody is to go on with it."""
    if record.status is StepStatus.WAITING:
        return record_after(record, StepStatus.CANCELLED, LEFT_CANCELLED, now)
    attempts = _closed(record.attempts, LOST, DIED_CANCELLED, now)
    closed = record_after(record, StepStatus.CANCELLED, DIED_CANCELLED, now)
    return replace(closed, attempts=attempts)


def _word(outcome: Outcome) -> str:
    if outcome.error_code is None:
        return StepStatus.SUCCESS
    if outcome.cancelled:
        return StepStatus.CANCELLED
    return StepStatus.TIMEOUT if outcome.timed_out else StepStatus.FAILED


def _closed(
    attempts: tuple[Attempt, ...], word: str, outcome: Outcome, now: datetime
) -> tuple[Attempt, ...]:
    if not attempts:
        return attempts
    last = replace(
        attempts[-1],
        outcome=word,
        end_time=now,
        error_code=outcome.error_code,
        error_message=outcome.error_message[:_LOGGED_CHARACTERS] or None,
    )
    return (*attempts[:-1], last)


def lost_attempts(attempts: tuple[Attempt, ...], now: datetime) -> tuple[Attempt, ...]:
    """The attempts with the last one, whose worker died, closed as lost."""
    outcome = Outcome(error_code="worker_lost", error_message="its worker stopped answering")
    return _closed(attempts, LOST, outcome, now)
