"""An attempt that may be claimed, and how: what a message was found to ask for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from scheduler.execution.claim import Claim
from scheduler.execution.rules.graph import Graph
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.states import StepStatus
from scheduler.jobs.model import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A step to claim; `siblings` are other places whose messages are to be sent once it is."""

    step_type: str
    claim: Callable[[], Awaitable[Claim | None]]
    siblings: tuple[int, ...] = ()


def next_places(run: Run, job: Job, now: datetime) -> tuple[int, ...]:
    """The places that may be claimed now: tries and looks that are due, then what is ready."""
    due = tuple(
        place
        for place, step in enumerate(run.steps)
        if step.status.sleeps and step.wake_at is not None and step.wake_at <= now
    )
    graph = Graph(job)
    sent = tuple(
        place
        for place, step in enumerate(run.steps)
        if step.status is StepStatus.PENDING
        and step.sent
        and graph.startable(place, run.steps, out_of_time=run.out_of_time)
    )
    return (*due, *sent, *graph.progress(run.steps, out_of_time=run.out_of_time).ready)


def with_sent(run: Run, job: Job, places: tuple[int, ...]) -> Run:
    """The run with these pending steps marked as sent, and those skipped that can never run."""
    steps = Graph(job).progress(run.steps, out_of_time=run.out_of_time).steps
    marked = tuple(
        replace(step, sent=True) if place in places and step.status is StepStatus.PENDING else step
        for place, step in enumerate(steps)
    )
    return replace(run, steps=marked)
