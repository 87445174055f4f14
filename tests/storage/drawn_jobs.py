"""Jobs as Hypothesis draws them: graphs of steps, and what each attempt of a step does."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any, Self

from hypothesis import strategies as st

from scheduler.execution.rules.model import StepState
from scheduler.execution.rules.states import StepStatus
from steps.contract import StepContext, StepFailed, StepResult
from tests.storage.faults import ALL
from tests.storage.scripted import Act, Hold, Script, crashes, dies, fails, succeeds, waits

ENDS = [
    *(["succeeds"] * 3 + ["waits"] * 6 + ["fails"] * 3 + ["looks again"] * 2),
    *("looks again later", "fails for good", "crashes", "dies"),
]
BAD = (StepStatus.FAILED, StepStatus.TIMEOUT, StepStatus.CANCELLED)


class Gate(Hold):
    """Holds a step until the test lets it end."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = False
        self.context: StepContext
        self._end = "surely"

    async def __call__(self, script: Script, context: StepContext) -> StepResult:
        """Waits, then ends as it is told to."""
        self.context, self.waits = context, True
        try:
            result = await super().__call__(script, context)
        finally:
            self.waits = False
        if self._end == "badly":
            raise StepFailed("broken", "let go to fail")
        if self._end == "surely":
            await context.confirm()
        return result

    def end(self, how: str) -> None:
        """Lets the step go on, to its end: badly, well, or well if its lease is still its own."""
        self._end = how
        self.release()


async def hangs(script: Script, context: StepContext) -> StepResult:
    """Runs until its time is over."""
    await asyncio.Event().wait()
    return StepResult()


def act_of(end: str) -> Act:
    """What an attempt does that ends so."""
    match end:
        case "waits":
            return Gate()
        case "fails":
            return fails()
        case "fails for good":
            return fails(retryable=False)
        case "crashes":
            return crashes()
        case "dies":
            return dies()
        case "hangs":
            return hangs
        case "looks again":
            return waits(20, "seen")
        case "looks again later":
            return waits(150, "seen")
    return succeeds()


@dataclass(frozen=True)
class DrawnJob:
    """A job: its fields, its steps, and for each of them how its attempts end."""

    overlap: str
    fields: dict[str, Any]
    steps: list[dict[str, Any]]
    ends: list[list[str]]

    def named(self, job_id: str) -> Self:
        """The same job, with steps whose ids no other job has."""
        steps = [{**step, "id": f"{job_id}_{step['id']}"} for step in self.steps]
        for step in steps:
            if "depends_on" in step:
                step["depends_on"] = [f"{job_id}_{other}" for other in step["depends_on"]]
        return replace(self, steps=steps)

    def parents(self, place: int) -> list[int]:
        """The places of the steps that a step comes after."""
        if "depends_on" not in self.steps[place]:
            return [place - 1] if place else []
        ids = [step["id"] for step in self.steps]
        return [ids.index(other) for other in self.steps[place]["depends_on"]]

    def _ancestors(self, place: int) -> set[int]:
        parents = self.parents(place)
        return set(parents).union(*(self._ancestors(parent) for parent in parents))

    def cleans_up(self, place: int) -> bool:
        """Whether a step also runs when its execution is to end early."""
        return bool(self.steps[place]["run_if"] != "success")

    def is_sure_before(self, place: int) -> bool:
        """Whether no step before one can make the job fail."""
        return all(self.steps[one]["continue_on_failure"] for one in self._ancestors(place))

    def may_start(
        self, place: int, states: tuple[StepState, ...], *, out_of_time: bool = False
    ) -> bool:
        """Whether a step's turn has come, and its `run_if` holds."""
        if not all(states[parent].status.finished for parent in self.parents(place)):
            return False
        failed = any(self.failed(one, states) for one in self._ancestors(place))
        wanted = {"always": True, "failure": failed or out_of_time, "success": not failed}
        return wanted[self.steps[place]["run_if"]]

    def failed(self, place: int, states: tuple[StepState, ...]) -> bool:
        """Whether a step failed, and its job with it."""
        status, tolerated = states[place].status, self.steps[place]["continue_on_failure"]
        return status is StepStatus.CANCELLED or (status in BAD and not tolerated)

    def end(self, states: tuple[StepState, ...]) -> str:
        """How an execution ends whose steps were not cut off."""
        if any(self.failed(place, states) for place in range(len(states))):
            return "failed"
        return "partial_success" if any(one.status in BAD for one in states) else "success"


@st.composite
def drawn_jobs(draw: st.DrawFn) -> DrawnJob:
    """Jobs of one to four steps, each after some of those before it."""
    count, in_order = draw(st.integers(1, 4)), draw(st.booleans())
    steps, ends = [], []
    for place in range(count):
        step: dict[str, Any] = {
            "id": f"s{place}",
            "max_retries": draw(st.integers(0, 2)),
            "retry_delay": draw(st.sampled_from([1, 30, 90, 150])),
            "on_interrupt": draw(st.sampled_from(["retry", "retry", "fail"])),
            "continue_on_failure": draw(st.sampled_from([False, False, True])),
            "run_if": draw(st.sampled_from(["success"] * 4 + ["failure", "always"])),
        }
        if not in_order:
            step["depends_on"] = [f"s{other}" for other in range(place) if draw(st.booleans())]
        ends.append(draw(st.lists(st.sampled_from(ENDS), min_size=1, max_size=4)))
        if ALL and "waits" not in ends[-1] and draw(st.booleans()):  # takes real time
            step["timeout"] = 1
            ends[-1].insert(0, "hangs")
        steps.append(step)
    job = DrawnJob(overlap="skip", fields={}, steps=steps, ends=ends)
    for place, step in enumerate(steps):
        if step["run_if"] == "failure" and job.is_sure_before(place):
            step["run_if"] = "success"  # what never runs is refused where another waits for it
    fields = {
        "max_parallel": draw(st.sampled_from([1, 1, 2, 8])),
        "timeout_seconds": draw(st.sampled_from([60, 600, 1_800, 3_600])),
        "priority": draw(st.integers(0, 1)),
    }
    overlap = draw(st.sampled_from(["skip", "queue", "allow"]))
    return DrawnJob(overlap=overlap, fields=fields, steps=steps, ends=ends)
