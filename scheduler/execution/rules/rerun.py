"""What a retry of an execution takes over from it: the steps that need not be done again."""

from dataclasses import dataclass

from scheduler.dispatch.ids import ExecutionId
from scheduler.execution.rules.graph import Graph
from scheduler.execution.rules.model import Run, StepState
from scheduler.execution.rules.states import StepEvent, StepStatus
from scheduler.jobs.model import Job, StepId

LONGEST_CHAIN = 40
"""Of retries of retries: each is entered with all before it, in one transaction."""


@dataclass(frozen=True, slots=True)
class Rerun:
    """How a retry begins: the states of its steps, and the executions that it is a retry of."""

    steps: tuple[StepState, ...]
    retried: tuple[ExecutionId, ...]


def rerun_of(run: Run, job: Job) -> Rerun:
    """A retry of a finished execution.

    A step counts as done when it succeeded and all those before it count. One that cleans up is
    done again: it cleans up after what is done again.
    """
    retried = (*run.retried, run.execution_id)
    graph, taken = Graph(job), set[int]()
    for place in graph.in_order:
        parents = graph.parents(place)
        done = run.steps[place].status is StepStatus.SUCCESS and taken.issuperset(parents)
        if done and not job.steps[place].cleans_up:
            taken.add(place)
    steps = tuple(
        _taken_over(step, len(run.retried)) if place in taken else StepState(id=StepId(step.id))
        for place, step in enumerate(run.steps)
    )
    return Rerun(steps, retried)


def _taken_over(step: StepState, source: int) -> StepState:
    copied = source if step.copied is None else step.copied
    return StepState(id=step.id).after(StepEvent.IS_COPIED, attempt=step.attempt, copied=copied)
