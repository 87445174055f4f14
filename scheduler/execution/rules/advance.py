"""What follows from an execution's steps: the next ones, its end, or sleep. Plain data, no I/O."""

from dataclasses import dataclass, replace
from datetime import datetime

from scheduler.execution.rules.graph import Graph, Progress
from scheduler.execution.rules.model import Run, StepState
from scheduler.execution.rules.states import RunEvent, RunState, StepEvent, StepStatus
from scheduler.jobs.model import Job


@dataclass(frozen=True, slots=True)
class Advanced:
    """An execution as it goes on, and the places whose messages are to be sent now."""

    run: Run
    ready: tuple[int, ...] = ()


def advanced(run: Run, job: Job, now: datetime) -> Advanced:
    """The execution with what follows from its steps' states: marked as sent, ended or asleep."""
    progress = Graph(job).progress(run.steps)
    event = _ending(run, progress, now)
    if event is not None:
        return Advanced(_ended(replace(run, steps=progress.steps), event, now))
    if run.cancel is not None:
        return Advanced(_without_rest(run, RunEvent.IS_CANCELLED, now))
    steps = tuple(
        replace(step, sent=True) if place in progress.ready else step
        for place, step in enumerate(progress.steps)
    )
    moved = replace(run, steps=steps, progress_at=now)
    asleep = not progress.ready and not any(map(_awake, steps))
    if asleep and moved.state is RunState.RUNNING:
        moved = moved.after(RunEvent.ALL_SLEEP)
    return Advanced(moved, progress.ready)


def stopped(run: Run, event: RunEvent, now: datetime) -> Run:
    """The execution whose other steps are given up: it ends, unless one of its steps still runs.

    `event` is `is_cancelled`, `runs_out_of_time` or `fails`.
    """
    left = _without_rest(run, event, now)
    return left if left.runs_a_step else _ended(left, event, now)


def _ending(run: Run, progress: Progress, now: datetime) -> RunEvent | None:
    """How the execution ends now; None while it goes on.

    A cancel, or a time limit, that comes when nothing is left to give up has come too late.
    """
    if run.runs_a_step:
        return None
    cut_off = any(step.status is StepStatus.CANCELLED for step in run.steps)
    if run.cancel is not None and (cut_off or progress.end is None):
        return RunEvent.IS_CANCELLED
    if now >= run.deadline and progress.end in (None, RunEvent.FAILS):
        return RunEvent.RUNS_OUT_OF_TIME
    return progress.end


def _without_rest(run: Run, event: RunEvent, now: datetime) -> Run:
    steps = tuple(_given_up(step, event) for step in run.steps)
    return replace(run, steps=steps, progress_at=now)


def _ended(run: Run, event: RunEvent, now: datetime) -> Run:
    message = run.message
    if event is RunEvent.IS_CANCELLED and run.cancel is not None:
        message = run.cancel.sentence
    left = _without_rest(run, event, now)
    return left.after(event, end_time=now, message=message)


def _given_up(step: StepState, event: RunEvent) -> StepState:
    match step.status, event:
        case ((StepStatus.PENDING | StepStatus.RETRYING), RunEvent.IS_CANCELLED):
            return step.after(StepEvent.IS_CANCELLED, sent=False, wake_at=None)
        case StepStatus.PENDING, _:
            return step.after(StepEvent.IS_SKIPPED, sent=False)
        case StepStatus.RETRYING, RunEvent.RUNS_OUT_OF_TIME:
            return step.after(StepEvent.RUNS_OUT_OF_TIME, wake_at=None)
        case StepStatus.RETRYING, _:
            return step.after(StepEvent.FAILS, wake_at=None)
        case _:
            return step


def _awake(step: StepState) -> bool:
    return step.status is StepStatus.RUNNING or step.sent
