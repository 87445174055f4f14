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


def advanced(run: Run, job: Job, now: datetime, *, cancelled: bool = False) -> Advanced:
    """The execution with what follows from its steps' states: marked as sent, ended or asleep.

    Of one that is to end early, the steps that clean up go on; all others are given up, and those
    that wait for outside work are called up to end it: once, when it has just been `cancelled`, or
    is out of time now.
    """
    graph = Graph(job)
    left = _cut_short(run, job, now)
    progress = graph.progress(left.steps, out_of_time=left.out_of_time)
    if progress.end is not None:
        event = _ending(left, job, progress.end)
        return Advanced(ended_by(replace(left, steps=progress.steps), event, now))
    stops_now = cancelled or (left.out_of_time and not run.out_of_time)
    called = tuple(
        place
        for place, step in enumerate(progress.steps)
        if stops_now and step.status is StepStatus.WAITING and not goes_on(left, job, place)
    )
    moved = replace(left, steps=_with_sent(progress), progress_at=now)
    retries = any(step.status is StepStatus.RETRYING for step in moved.steps)
    if moved.sleeps and retries and moved.state is RunState.RUNNING:
        moved = moved.after(RunEvent.ALL_SLEEP)
    return Advanced(moved, (*called, *progress.ready))


def ended_by(run: Run, event: RunEvent, now: datetime) -> Run:
    """The execution at its end, whatever is left of it given up."""
    message = run.message
    if event is RunEvent.IS_CANCELLED and run.cancel is not None:
        message = run.cancel.sentence
    steps = tuple(_given_up(step, event) for step in run.steps)
    return replace(run, steps=steps, progress_at=now).after(event, end_time=now, message=message)


def is_done(run: Run, job: Job) -> bool:
    """Whether nothing is left of an execution, or no more than cleaning up."""
    return not any(map(_is_open, _main_steps(run, job)))


def _cut_short(run: Run, job: Job, now: datetime) -> Run:
    """The execution with the steps given up that a cancel, or the end of its time, takes from it.

    Its time is not over while a step still runs that is to be stopped for it.
    """
    main = _main_steps(run, job)
    runs = any(step.status is StepStatus.RUNNING for step in main)
    if now >= run.deadline and not run.stopping and not runs and any(map(_is_open, main)):
        run = replace(run, out_of_time=True)
    if not run.stopping:
        return run
    event = RunEvent.IS_CANCELLED if run.cancel is not None else RunEvent.RUNS_OUT_OF_TIME
    steps = tuple(
        step if goes_on(run, job, place) else _stopped(step, event, now)
        for place, step in enumerate(run.steps)
    )
    return replace(run, steps=steps)


def goes_on(run: Run, job: Job, place: int) -> bool:
    """Whether a step is left alone by what ends its execution early.

    Where nothing has begun yet, there is nothing to clean up.
    """
    return job.steps[place].cleans_up and run.start_time is not None


def _main_steps(run: Run, job: Job) -> list[StepState]:
    return [step for place, step in enumerate(run.steps) if not goes_on(run, job, place)]


def _is_open(step: StepState) -> bool:
    return not step.status.finished


def _ending(run: Run, job: Job, end: RunEvent) -> RunEvent:
    """How an execution ends of which nothing is left.

    A cancel, or the end of its time, that came when nothing was left to give up came too late.
    """
    cut_off = any(step.status is StepStatus.CANCELLED for step in _main_steps(run, job))
    if run.cancel is not None and cut_off:
        return RunEvent.IS_CANCELLED
    return RunEvent.RUNS_OUT_OF_TIME if run.out_of_time else end


def _with_sent(progress: Progress) -> tuple[StepState, ...]:
    return tuple(
        replace(step, sent=True) if place in progress.ready else step
        for place, step in enumerate(progress.steps)
    )


def _stopped(step: StepState, event: RunEvent, now: datetime) -> StepState:
    if step.status is StepStatus.WAITING:
        return replace(step, wake_at=min(step.wake_at or now, now))
    return _given_up(step, event)


def _given_up(step: StepState, event: RunEvent) -> StepState:
    if step.status is StepStatus.PENDING and event is not RunEvent.IS_CANCELLED:
        return step.after(StepEvent.IS_SKIPPED, sent=False)
    if step.status is not StepStatus.PENDING and not step.status.sleeps:
        return step
    match event:
        case RunEvent.IS_CANCELLED:
            return step.after(StepEvent.IS_CANCELLED, sent=False, wake_at=None)
        case RunEvent.RUNS_OUT_OF_TIME:
            return step.after(StepEvent.RUNS_OUT_OF_TIME, wake_at=None)
        case _:
            return step.after(StepEvent.FAILS, wake_at=None)
