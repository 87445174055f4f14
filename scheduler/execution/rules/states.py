"""States of executions and steps, and the one table of legal moves."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from scheduler.errors import IllegalTransition


class RunState(StrEnum):
    """Where an execution stands."""

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    SUCCESS = "success"
    FAILED = "failed"
    PARTIAL_SUCCESS = "partial_success"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"
    SKIPPED = "skipped"

    @property
    def finished(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self not in (RunState.PENDING, RunState.RUNNING, RunState.RETRYING)


class RunEvent(StrEnum):
    """What happens to an execution."""

    STEP_STARTS = "step_starts"
    ALL_SLEEP = "all_sleep"
    SUCCEEDS = "succeeds"
    FAILS = "fails"
    PARTLY_SUCCEEDS = "partly_succeeds"
    IS_CANCELLED = "is_cancelled"
    RUNS_OUT_OF_TIME = "runs_out_of_time"
    IS_SKIPPED = "is_skipped"


class StepStatus(StrEnum):
    """Where a step of an execution stands."""

    PENDING = "pending"
    RUNNING = "running"
    RETRYING = "retrying"
    WAITING = "waiting"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    TIMEOUT = "timeout"

    @property
    def finished(self) -> bool:
        """Whether nothing can happen to it any more."""
        return self not in _UNFINISHED

    @property
    def sleeps(self) -> bool:
        """Whether it waits for an instant: of its next try, or of its next look."""
        return self in (StepStatus.RETRYING, StepStatus.WAITING)


_UNFINISHED = frozenset(
    {StepStatus.PENDING, StepStatus.RUNNING, StepStatus.RETRYING, StepStatus.WAITING}
)


class StepEvent(StrEnum):
    """What happens to a step."""

    STARTS = "starts"
    IS_TAKEN_OVER = "is_taken_over"
    WILL_RETRY = "will_retry"
    WILL_LOOK_AGAIN = "will_look_again"
    SUCCEEDS = "succeeds"
    FAILS = "fails"
    RUNS_OUT_OF_TIME = "runs_out_of_time"
    IS_SKIPPED = "is_skipped"
    IS_CANCELLED = "is_cancelled"
    IS_COPIED = "is_copied"


RUN_MOVES: Final[Mapping[tuple[RunState, RunEvent], RunState]] = {
    (RunState.PENDING, RunEvent.STEP_STARTS): RunState.RUNNING,
    (RunState.PENDING, RunEvent.SUCCEEDS): RunState.SUCCESS,
    (RunState.PENDING, RunEvent.FAILS): RunState.FAILED,
    (RunState.PENDING, RunEvent.IS_SKIPPED): RunState.SKIPPED,
    (RunState.PENDING, RunEvent.IS_CANCELLED): RunState.CANCELLED,
    (RunState.PENDING, RunEvent.RUNS_OUT_OF_TIME): RunState.TIMEOUT,
    (RunState.RUNNING, RunEvent.STEP_STARTS): RunState.RUNNING,
    (RunState.RUNNING, RunEvent.ALL_SLEEP): RunState.RETRYING,
    (RunState.RUNNING, RunEvent.SUCCEEDS): RunState.SUCCESS,
    (RunState.RUNNING, RunEvent.FAILS): RunState.FAILED,
    (RunState.RUNNING, RunEvent.PARTLY_SUCCEEDS): RunState.PARTIAL_SUCCESS,
    (RunState.RUNNING, RunEvent.IS_CANCELLED): RunState.CANCELLED,
    (RunState.RUNNING, RunEvent.RUNS_OUT_OF_TIME): RunState.TIMEOUT,
    (RunState.RETRYING, RunEvent.STEP_STARTS): RunState.RUNNING,
    (RunState.RETRYING, RunEvent.FAILS): RunState.FAILED,
    (RunState.RETRYING, RunEvent.IS_CANCELLED): RunState.CANCELLED,
    (RunState.RETRYING, RunEvent.RUNS_OUT_OF_TIME): RunState.TIMEOUT,
}

STEP_MOVES: Final[Mapping[tuple[StepStatus, StepEvent], StepStatus]] = {
    (StepStatus.PENDING, StepEvent.STARTS): StepStatus.RUNNING,
    (StepStatus.PENDING, StepEvent.IS_SKIPPED): StepStatus.SKIPPED,
    (StepStatus.PENDING, StepEvent.IS_CANCELLED): StepStatus.CANCELLED,
    (StepStatus.PENDING, StepEvent.IS_COPIED): StepStatus.SUCCESS,
    (StepStatus.RUNNING, StepEvent.IS_TAKEN_OVER): StepStatus.RUNNING,
    (StepStatus.RUNNING, StepEvent.WILL_RETRY): StepStatus.RETRYING,
    (StepStatus.RUNNING, StepEvent.WILL_LOOK_AGAIN): StepStatus.WAITING,
    (StepStatus.RUNNING, StepEvent.SUCCEEDS): StepStatus.SUCCESS,
    (StepStatus.RUNNING, StepEvent.FAILS): StepStatus.FAILED,
    (StepStatus.RUNNING, StepEvent.RUNS_OUT_OF_TIME): StepStatus.TIMEOUT,
    (StepStatus.RUNNING, StepEvent.IS_CANCELLED): StepStatus.CANCELLED,
    (StepStatus.RETRYING, StepEvent.STARTS): StepStatus.RUNNING,
    (StepStatus.RETRYING, StepEvent.FAILS): StepStatus.FAILED,
    (StepStatus.RETRYING, StepEvent.IS_CANCELLED): StepStatus.CANCELLED,
    (StepStatus.RETRYING, StepEvent.RUNS_OUT_OF_TIME): StepStatus.TIMEOUT,
    (StepStatus.WAITING, StepEvent.STARTS): StepStatus.RUNNING,
    (StepStatus.WAITING, StepEvent.FAILS): StepStatus.FAILED,
    (StepStatus.WAITING, StepEvent.IS_CANCELLED): StepStatus.CANCELLED,
    (StepStatus.WAITING, StepEvent.RUNS_OUT_OF_TIME): StepStatus.TIMEOUT,
}


def next_run_state(state: RunState, event: RunEvent) -> RunState:
    """The state of an execution after an event.

    Raises:
        IllegalTransition: the table has no such move.
    """
    try:
        return RUN_MOVES[state, event]
    except KeyError:
        raise IllegalTransition(f"an execution that is {state} cannot: {event}") from None


def next_step_status(status: StepStatus, event: StepEvent) -> StepStatus:
    """The state of a step after an event.

    Raises:
        IllegalTransition: the table has no such move.
    """
    try:
        return STEP_MOVES[status, event]
    except KeyError:
        raise IllegalTransition(f"a step that is {status} cannot: {event}") from None
