"""An execution, its steps and their attempts: plain data, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from scheduler.dispatch.ids import ExecutionId, ExecutionKey, Trigger, key_of
from scheduler.execution.rules.states import (
    RunEvent,
    RunState,
    StepEvent,
    StepStatus,
    next_run_state,
    next_step_status,
)
from scheduler.jobs.model import Overlap, StepId


@dataclass(frozen=True, slots=True, kw_only=True)
class StepState:
    """What the run row knows of a step: enough to decide what comes next.

    `attempt` counts all attempts, `failures` those that failed, `interruptions` those whose worker
    died; `looks` how often a waiting attempt was looked at. `fence` names the attempt that runs;
    `wake_at` is when a retry, or the next look, is due, `wait_until` when it has waited too long.
    `sent`: the message of a pending step is on
    its way. `copied`: it was done in this one of the executions that its own is a retry of.
    """

    id: StepId
    status: StepStatus = StepStatus.PENDING
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    looks: int = 0
    fence: str | None = None
    wake_at: datetime | None = None
    wait_until: datetime | None = None
    sent: bool = False
    copied: int | None = None

    def after(self, event: StepEvent, **changes: Any) -> Self:  # noqa: ANN401
        """This state moved by an event, with other fields changed along.

        Raises:
            IllegalTransition: the table has no such move.
        """
        return replace(self, status=next_step_status(self.status, event), **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequest:
    """That an execution is to end early: since when, on whose word, and why."""

    at: datetime
    by: str = ""
    reason: str = ""

    @property
    def sentence(self) -> str:
        """What the execution's reader is told."""
        by = f" by {self.by}" if self.by else ""
        return f"cancelled{by}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """An execution as its run row holds it.

    `slot` and `slot_etag` say which slot of its zone it holds; `holds_current` that the job's
    `!current` row is its own, and `followed` that others of its job wait for its end; `progress_at`
    when anything last happened. Its time counts from `counted_from`, or where that is None, from
    `created_at`; `out_of_time` once that was over before its steps were done. `retried`: the
    executions that it is a retry of, the first one first; what they had done is not done again.
    """

    execution_id: ExecutionId
    job_name: str
    timezone: str
    definition: str
    trigger: Trigger
    scheduled_time: datetime
    created_at: datetime
    deadline: datetime
    progress_at: datetime
    steps: tuple[StepState, ...]
    state: RunState = RunState.PENDING
    start_time: datetime | None = None
    end_time: datetime | None = None
    overlap: Overlap = Overlap.SKIP
    priority: int = 0
    holds_current: bool = False
    slot: str | None = None
    slot_etag: str | None = None
    message: str = ""
    counted_from: datetime | None = None
    cancel: CancelRequest | None = None
    out_of_time: bool = False
    requested_by: str = ""
    inline: bool = False
    followed: bool = False
    retried: tuple[ExecutionId, ...] = ()

    @property
    def key(self) -> ExecutionKey:
        """Where it is stored."""
        return key_of(self.execution_id)

    @property
    def job_id(self) -> str:
        """The job that it is a run of."""
        return self.key.job_id

    def after(self, event: RunEvent, **changes: Any) -> Self:  # noqa: ANN401
        """This execution moved by an event, with other fields changed along.

        Raises:
            IllegalTransition: the table has no such move.
        """
        return replace(self, state=next_run_state(self.state, event), **changes)

    @property
    def timed_from(self) -> datetime:
        """The instant from which the job's `timeout_seconds` count."""
        return self.counted_from or self.created_at

    @property
    def runs_a_step(self) -> bool:
        """Whether one of its steps runs."""
        return any(step.status is StepStatus.RUNNING for step in self.steps)

    @property
    def stopping(self) -> bool:
        """Whether it is to end early: of its steps only those still run that clean up."""
        return self.cancel is not None or self.out_of_time

    @property
    def sleeps(self) -> bool:
        """Whether all that is left of it is to wait for an instant."""
        awake = any(step.status is StepStatus.RUNNING or step.sent for step in self.steps)
        return not awake and any(step.wake_at is not None for step in self.steps)

    def timed_anew(self, now: datetime) -> Self:
        """This execution with its whole time ahead of it."""
        deadline = now + (self.deadline - self.timed_from)
        return replace(self, deadline=deadline, counted_from=now)

    def now_current(self) -> Self:
        """This execution as its job's active one."""
        return replace(self, holds_current=True)

    def in_slot(self, slot: str | None, etag: str | None) -> Self:
        """This execution with a slot of its zone, or with none."""
        return replace(self, slot=slot, slot_etag=etag)

    def place_of(self, step_id: str) -> int | None:
        """The place of a step in the definition, from 0; None when there is no such step."""
        for place, step in enumerate(self.steps):
            if step.id == step_id:
                return place
        return None

    def source_of(self, place: int) -> ExecutionKey:
        """Where the row of a step is: with the execution in which it was done."""
        copied = self.steps[place].copied
        return self.key if copied is None else key_of(self.retried[copied])

    def with_step(self, place: int, step: StepState) -> Self:
        """This execution with one step's state replaced."""
        return replace(self, steps=(*self.steps[:place], step, *self.steps[place + 1 :]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of a step. `outcome` is `running`, `success`, `failed`, `timeout`, `lost`, …"""

    number: int
    outcome: str
    start_time: datetime
    end_time: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """A step's own row: its attempts, its lease, and what it left behind.

    `output` is the JSON text of the output; when `output_truncated` only the first part, of the
    text itself when `output_is_text`, and the whole is the blob `output_blob`. `cancel_requested`
    tells the attempt that runs to stop. `waiting_state` is what its last look at outside work left
    for the next, as JSON text; `published` the values that later steps may read.
    """

    id: StepId
    name: str
    type: str
    status: StepStatus
    attempts: tuple[Attempt, ...]
    fence: str | None
    lease_until: datetime | None
    cancel_requested: bool = False
    start_time: datetime | None = None
    end_time: datetime | None = None
    output: str | None = None
    output_is_text: bool = False
    output_truncated: bool = False
    output_blob: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    metadata: Mapping[str, Any] | None = None
    waiting_state: str | None = None
    published: Mapping[str, Any] | None = None

    def lease_is_over(self, now: datetime, skew: timedelta) -> bool:
        """Whether its worker is dead for sure, by clocks that are up to `skew` apart."""
        return self.lease_until is None or now > self.lease_until + skew
