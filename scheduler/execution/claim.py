"""An attempt that is ours to run, and what came of recording it. Plain data, no I/O."""

from dataclasses import dataclass
from datetime import datetime

from scheduler.dispatch.ids import Trigger
from scheduler.execution.rules.model import Run, StepRecord, StepState
from scheduler.execution.store import Stored
from scheduler.jobs.model import Job, StepSpec
from scheduler.schedule.triggers import jittered


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """An attempt that is ours to run; `step_etag` is the step row's, "" where it is not known."""

    run: Stored[Run]
    job: Job
    place: int
    record: StepRecord
    step_etag: str

    @property
    def begins_run(self) -> bool:
        """Whether it is the very first attempt of its execution."""
        steps = self.run.value.steps
        return sum(step.attempt for step in steps if step.copied is None) == 1

    @property
    def due(self) -> datetime:
        """When the execution was to start: its nominal instant, and its jitter."""
        run, schedule = self.run.value, self.job.schedule
        if schedule is None or run.trigger is not Trigger.SCHEDULE:
            return run.created_at
        return jittered(run.scheduled_time, run.execution_id, schedule.jitter_seconds)

    @property
    def spec(self) -> StepSpec:
        """The step's definition."""
        return self.job.steps[self.place]

    @property
    def state(self) -> StepState:
        """The step's state, attempt number and fence included."""
        return self.run.value.steps[self.place]


@dataclass(frozen=True, slots=True)
class Recorded:
    """An execution after a record, and the places whose messages are to be sent.

    `ready` may start now, `retry` is the step that was recorded when it is to be tried again.
    `etag` is the version of the run row.
    """

    run: Run
    etag: str
    ready: tuple[int, ...]
    retry: tuple[int, ...] = ()
