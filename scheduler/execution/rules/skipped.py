"""Why a step was skipped: told from the states of the steps before it."""

from scheduler.execution.rules.graph import Graph
from scheduler.execution.rules.model import Run, StepState
from scheduler.execution.rules.states import RunState, StepStatus
from scheduler.jobs.model import Job, RunIf

_NAMED = 3
_WORDS = {
    StepStatus.FAILED: "failed",
    StepStatus.TIMEOUT: "timed out",
    StepStatus.CANCELLED: "was cancelled",
}


def why_skipped(run: Run, job: Job | None, place: int) -> str | None:
    """The reason in words; None of a step that was not skipped, or whose job is not known."""
    if run.steps[place].status is not StepStatus.SKIPPED:
        return None
    if run.state is RunState.SKIPPED:
        return "the execution was skipped"
    if job is None:
        return None
    failed = Graph(job).failed_before(place, run.steps)
    if job.steps[place].run_if is RunIf.FAILURE and not failed:
        return "run_if is failure, and no step before it failed"
    if failed:
        return _told(failed)
    if run.out_of_time:
        return "the job's time was over before its turn"
    return "the execution ended before its turn"


def _told(failed: tuple[StepState, ...]) -> str:
    named = [f"step {step.id} {_WORDS[step.status]}" for step in failed[:_NAMED]]
    more = f" and {len(failed) - _NAMED} more" if len(failed) > _NAMED else ""
    return ", ".join(named) + more
