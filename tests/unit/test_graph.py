from dataclasses import dataclass, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.execution.rules.graph import Graph, initial_states
from scheduler.execution.rules.model import StepState
from scheduler.execution.rules.states import RunEvent, StepEvent, StepStatus
from scheduler.jobs.model import Job, JobId, RunIf, StepId, StepSpec


def step(
    id: str,
    *depends_on: str,
    run_if: RunIf = RunIf.SUCCESS,
    continues: bool = False,
    alone: bool = False,
) -> StepSpec:
    """A step; without `alone` it says what it depends on, nothing included."""
    return StepSpec(
        id=StepId(id),
        name=id,
        type="scripted",
        config={},
        depends_on=None if alone else tuple(map(StepId, depends_on)),
        run_if=run_if,
        continue_on_failure=continues,
    )


def job(*steps: StepSpec, max_parallel: int = 8) -> Job:
    return Job(id=JobId("job"), name="job", steps=steps, max_parallel=max_parallel)


def ended(state: StepState, event: StepEvent) -> StepState:
    return state.after(StepEvent.STARTS).after(event)


def test_steps_without_dependencies_run_one_after_the_other() -> None:
    graph = Graph(job(*(step(id, alone=True) for id in "abc")))
    states = initial_states(graph._job)
    for place in range(3):
        assert graph.progress(states).ready == (place,)
        done = ended(states[place], StepEvent.SUCCEEDS)
        states = (*states[:place], done, *states[place + 1 :])
    assert graph.progress(states).end is RunEvent.SUCCEEDS


def test_a_step_that_was_sent_is_not_ready_again_but_may_start() -> None:
    graph = Graph(job(step("a"), step("b")))
    a, b = initial_states(graph._job)
    progress = graph.progress((replace(a, sent=True), b))
    assert (progress.ready, progress.end) == ((1,), None)
    assert graph.startable(0, (replace(a, sent=True), b))


def test_sent_and_sleeping_steps_count_among_those_side_by_side() -> None:
    graph = Graph(job(*map(step, "abcd"), max_parallel=3))
    a, b, c, d = initial_states(graph._job)
    sleeping = a.after(StepEvent.STARTS).after(StepEvent.WILL_RETRY)
    assert graph.progress((sleeping, replace(b, sent=True), c, d)).ready == (2,)


@pytest.mark.parametrize("event", [StepEvent.FAILS, StepEvent.RUNS_OUT_OF_TIME])
def test_a_failure_skips_what_depends_on_it_to_the_last_consequence(event: StepEvent) -> None:
    graph = Graph(job(step("a"), step("b", "a"), step("c", "b"), step("d")))
    a, b, c, d = initial_states(graph._job)
    progress = graph.progress((ended(a, event), b, c, d))
    statuses = [state.status for state in progress.steps[1:]]
    assert statuses == [StepStatus.SKIPPED, StepStatus.SKIPPED, StepStatus.PENDING]
    assert (progress.ready, progress.end) == ((3,), None)


def test_an_execution_does_not_end_while_a_branch_beside_the_failed_one_runs() -> None:
    graph = Graph(job(step("a"), step("b")))
    a, b = initial_states(graph._job)
    failed, running = ended(a, StepEvent.FAILS), b.after(StepEvent.STARTS)
    assert graph.progress((failed, running)).end is None
    assert graph.progress((failed, running.after(StepEvent.SUCCEEDS))).end is RunEvent.FAILS


@dataclass(frozen=True)
class Case:
    """A job, which of its steps fail when they run, and in what order running ones finish."""

    job: Job
    fails: tuple[bool, ...]
    order: tuple[int, ...]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    count = draw(st.integers(1, 8))
    steps = tuple(
        step(
            f"s{place}",
            *draw(st.sets(st.sampled_from([f"s{one}" for one in range(place)]))) if place else (),
            run_if=draw(st.sampled_from(RunIf)),
            continues=draw(st.booleans()),
        )
        for place in range(count)
    )
    return Case(
        job(*steps, max_parallel=draw(st.integers(1, 4))),
        tuple(draw(st.lists(st.booleans(), min_size=count, max_size=count))),
        tuple(draw(st.lists(st.integers(0, 7), min_size=count, max_size=count))),
    )


def expected(case: Case) -> tuple[list[StepStatus], RunEvent]:
    """How it has to end, by going through the steps once, in an order that respects them."""
    statuses: list[StepStatus] = []
    before: list[set[int]] = []
    steps = case.job.steps
    for place, spec in enumerate(steps):
        parents = {int(id[1:]) for id in spec.depends_on or ()}
        before.append(parents.union(*(before[parent] for parent in parents)))
        bad = [
            one
            for one in before[place]
            if statuses[one] is StepStatus.FAILED and not steps[one].continue_on_failure
        ]
        wanted = {RunIf.SUCCESS: not bad, RunIf.FAILURE: bool(bad), RunIf.ALWAYS: True}
        ran = StepStatus.FAILED if case.fails[place] else StepStatus.SUCCESS
        statuses.append(ran if wanted[spec.run_if] else StepStatus.SKIPPED)
    failed = [spec for spec, status in zip(steps, statuses, strict=True) if status == "failed"]
    if any(not spec.continue_on_failure for spec in failed):
        return statuses, RunEvent.FAILS
    return statuses, RunEvent.PARTLY_SUCCEEDS if failed else RunEvent.SUCCEEDS


@settings(max_examples=300, deadline=None)
@given(cases())
def test_any_graph_ends_as_its_rules_say_in_whatever_order_its_steps_finish(case: Case) -> None:
    graph, states = Graph(case.job), initial_states(case.job)
    running: list[int] = []
    for turn in range(len(states) + 1):
        progress = graph.progress(states)
        states = progress.steps
        for place in progress.ready:
            assert graph.startable(place, states)
            states = (*states[:place], states[place].after(StepEvent.STARTS), *states[place + 1 :])
            running.append(place)
        assert len(running) <= case.job.max_parallel
        assert (progress.end is None) == bool(running)
        if progress.end is not None:
            break
        place = running.pop(case.order[turn] % len(running))
        event = StepEvent.FAILS if case.fails[place] else StepEvent.SUCCEEDS
        states = (*states[:place], states[place].after(event), *states[place + 1 :])
    assert ([state.status for state in states], progress.end) == expected(case)
