"""A thousand random graphs of steps, walked in random order, against a simple model."""

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.dispatch.ids import Trigger, manual_id
from scheduler.execution.rules.advance import Advanced, advanced
from scheduler.execution.rules.graph import initial_states
from scheduler.execution.rules.model import CancelRequest, Run
from scheduler.execution.rules.states import RunEvent, RunState, StepEvent, StepStatus
from scheduler.jobs.model import Job, JobId, RunIf, StepId, StepSpec

NOW = datetime(2027, 3, 14, 6, 30, tzinfo=UTC)
BAD = (StepStatus.FAILED, StepStatus.TIMEOUT, StepStatus.CANCELLED)


@dataclass(frozen=True)
class Drawn:
    """A job, which of its steps fail, and what ends it early, after so many ends of steps."""

    job: Job
    fails: frozenset[int]
    stop: str
    stop_after: int
    seed: int


@st.composite
def drawn(draw: st.DrawFn) -> Drawn:
    count = draw(st.integers(1, 14))
    steps = []
    for place in range(count):
        before = [StepId(f"s{other}") for other in range(place)]
        parents = draw(st.lists(st.sampled_from(before), unique=True, max_size=4)) if before else []
        steps.append(
            StepSpec(
                id=StepId(f"s{place}"),
                name=f"s{place}",
                type="note",
                config={},
                depends_on=tuple(parents),
                run_if=draw(st.sampled_from([RunIf.SUCCESS] * 4 + [RunIf.FAILURE, RunIf.ALWAYS])),
                continue_on_failure=draw(st.integers(0, 4)) == 0,
            )
        )
    job = Job(id=JobId("job"), name="job", steps=tuple(steps), max_parallel=draw(st.integers(1, 6)))
    return Drawn(
        job=job,
        fails=draw(st.frozensets(st.integers(0, count - 1), max_size=4)),
        stop=draw(st.sampled_from(["never"] * 3 + ["cancel", "time"])),
        stop_after=draw(st.integers(0, count)),
        seed=draw(st.integers(0, 2**32)),
    )


class Walk:
    """Plays an execution by the rules alone: one step begins or ends at a time, in random order."""

    def __init__(self, case: Drawn) -> None:
        self.case = case
        self._chance = random.Random(case.seed)
        self.begun: list[int] = []
        self.ended = 0
        self.now = NOW
        run = Run(
            execution_id=manual_id("job", NOW),
            job_name="job",
            timezone="UTC",
            definition="",
            trigger=Trigger.MANUAL,
            scheduled_time=NOW,
            created_at=NOW,
            deadline=NOW + timedelta(hours=1),
            progress_at=NOW,
            steps=initial_states(case.job),
        )
        self.run = self._follow(advanced(run, case.job, NOW))

    def play(self) -> Run:
        """Goes on until the execution has ended."""
        while not self.run.state.finished:
            self._stop_if_it_is_time()
            if self.run.state.finished:
                break
            sent = self._places(lambda place: self.run.steps[place].sent)
            running = self._places(lambda place: self.run.steps[place].status is StepStatus.RUNNING)
            assert sent or running, self.run
            assert len(running) <= self.case.job.max_parallel
            place = self._chance.choice([*sent, *running])
            if place in sent:
                self._begin(place)
            else:
                self._end(place)
        return self.run

    def _places(self, wanted: object) -> list[int]:
        assert callable(wanted)
        return [place for place in range(len(self.run.steps)) if wanted(place)]

    def _begin(self, place: int) -> None:
        assert place not in self.begun, "a step began twice"
        for parent in self.case.job.steps[place].depends_on or ():
            own = self.run.place_of(parent)
            assert own is not None
            assert self.run.steps[own].status.finished, "a step began before its parents had ended"
        self.begun.append(place)
        state = self.run.steps[place].after(StepEvent.STARTS, attempt=1, sent=False)
        started = self.run.after(RunEvent.STEP_STARTS, start_time=self.run.start_time or self.now)
        self.run = started.with_step(place, state)

    def _end(self, place: int) -> None:
        event = StepEvent.FAILS if place in self.case.fails else StepEvent.SUCCEEDS
        state = self.run.steps[place].after(event)
        self.ended += 1
        self.run = self._follow(advanced(self.run.with_step(place, state), self.case.job, self.now))

    def _stop_if_it_is_time(self) -> None:
        if self.ended < self.case.stop_after or self.case.stop == "never":
            return
        if self.case.stop == "cancel" and self.run.cancel is None:
            cancelled = replace(self.run, cancel=CancelRequest(at=self.now))
            self.run = self._follow(advanced(cancelled, self.case.job, self.now))
        if self.case.stop == "time" and self.now < self.run.deadline:
            self.now = self.run.deadline
            self.run = self._follow(advanced(self.run, self.case.job, self.now))

    def _follow(self, after: Advanced) -> Run:
        for place in after.ready:
            assert after.run.steps[place].sent
        return after.run


def _failed(run: Run, job: Job, place: int) -> bool:
    status = run.steps[place].status
    tolerated = job.steps[place].continue_on_failure
    return status is StepStatus.CANCELLED or (status in BAD and not tolerated)


def _ancestors(job: Job, place: int) -> set[int]:
    parents = {int(parent[1:]) for parent in job.steps[place].depends_on or ()}
    return parents.union(*(_ancestors(job, parent) for parent in parents))


def _wanted(run: Run, job: Job, place: int, *, out_of_time: bool) -> bool:
    """Whether a step is to run, by how those before it ended."""
    failed = any(_failed(run, job, one) for one in _ancestors(job, place))
    match job.steps[place].run_if:
        case RunIf.SUCCESS:
            return not failed
        case RunIf.FAILURE:
            return failed or out_of_time
        case RunIf.ALWAYS:
            return True


@settings(max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn())
def test_every_graph_ends_as_the_model_says_and_each_step_runs_once_at_the_most(
    case: Drawn,
) -> None:
    walk = Walk(case)
    run = walk.play()
    job, places = case.job, range(len(case.job.steps))
    assert all(step.status.finished for step in run.steps)
    for place in places:
        ran = place in walk.begun
        assert ran is (run.steps[place].status in (StepStatus.SUCCESS, StepStatus.FAILED))
        spared = job.steps[place].cleans_up and run.start_time is not None
        if ran:
            late = run.out_of_time
            assert _wanted(run, job, place, out_of_time=late), "a step ran that must not"
        elif not run.stopping or spared:
            # One after a failure may have been skipped before the time was over.
            wanted = _wanted(run, job, place, out_of_time=False)
            assert not wanted, "a step did not run that had to"
    cut = [place for place in places if not job.steps[place].cleans_up or run.start_time is None]
    if run.cancel is not None and any(
        run.steps[place].status is StepStatus.CANCELLED for place in cut
    ):
        assert run.state is RunState.CANCELLED
    elif run.out_of_time:
        assert run.state is RunState.TIMEOUT
    elif any(_failed(run, job, place) for place in places):
        assert run.state is RunState.FAILED
    elif any(step.status in BAD for step in run.steps):
        assert run.state is RunState.PARTIAL_SUCCESS
    else:
        assert run.state is RunState.SUCCESS
