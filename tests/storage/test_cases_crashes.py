"""A process that is killed at each point between a step's body and its message's removal."""

from datetime import timedelta
from typing import Any

import pytest

from scheduler.dispatch.ids import scheduled_id
from steps.contract import StepContext, StepResult
from tests.storage.drawn_jobs import Gate
from tests.storage.scripted import Act, Hold, Script, fails
from tests.storage.simulation import Simulation
from tests.storage.wire import Mode

CHAIN: tuple[dict[str, Any], ...] = ({"id": "one"}, {"id": "two"}, {"id": "three"})
RECOVERY = timedelta(seconds=90 + 60)
"""Lease and clock skew, then upkeep within a minute."""
TWO_TICKS = timedelta(seconds=120)

RECORD, NEXT = "Executions batch", "tz send"
KILLED = {
    "before the record": (Mode.KILLED_BEFORE, RECORD),
    "after the record": (Mode.KILLED_AFTER, RECORD),
    "before the next message": (Mode.KILLED_BEFORE, NEXT),
    "after the next message": (Mode.KILLED_AFTER, NEXT),
}


def ends_and_is_killed(sim: Simulation, mode: Mode, kind: str) -> Act:
    """Does its work; a request that follows is the last of the process."""

    async def act(script: Script, context: StepContext) -> StepResult:
        sim.wire.arm(1, mode, lambda one: one == kind)
        return StepResult(f"attempt {context.attempt}")

    return act


async def started(sim: Simulation, *, scheduled: bool) -> str:
    """Makes a run of the chain, about to start."""
    if not scheduled:
        return await sim.execute("job", *CHAIN)
    due = sim.clock.now().replace(second=0) + timedelta(minutes=2)
    await sim.create("job", *CHAIN, schedule={"type": "once", "expression": due.isoformat()})
    await sim.app.run_tick()
    await sim.be_down(seconds=(due - sim.clock.now()).total_seconds())
    return scheduled_id("job", due)


@pytest.mark.parametrize(
    ("step", "scheduled"), [("one", True), ("two", False)], ids=["first", "second"]
)
@pytest.mark.parametrize("where", KILLED)
async def test_a_run_whose_process_is_killed_goes_on_and_repeats_only_what_is_not_on_record(
    sim: Simulation, where: str, step: str, scheduled: bool
) -> None:
    sim.script.acts[step] = [ends_and_is_killed(sim, *KILLED[where])]
    execution_id = await started(sim, scheduled=scheduled)
    old = sim.app
    while await sim.deliver():
        pass
    assert sim.app is not old
    died = next(one.at for one in sim.script.ran if one.step == step)
    await sim.run()
    body = await sim.read(execution_id)
    lost = where == "before the record"
    assert (body["status"], body["end_time"] - died <= RECOVERY) == ("success", True)
    for one in body["steps"]:
        again = lost and one["step_id"] == step
        outcomes = [attempt["outcome"] for attempt in one["attempt_history"]]
        assert outcomes == (["lost", "success"] if again else ["success"])
        assert sim.script.times(execution_id, one["step_id"]) == len(outcomes)
    following = next(
        one.at for one in sim.script.ran if one.step == ("two", "three")[step == "two"]
    )
    if where == "after the next message":
        assert following == died
    elif not lost:
        assert following - died <= TWO_TICKS
    assert {one.execution_id for one in sim.script.ran} == {execution_id}
    assert await sim.listed() == [(execution_id, "success")]
    await sim.assert_nothing_left()


async def test_a_process_that_is_killed_in_the_midst_of_a_step_costs_a_lost_attempt_and_no_more(
    sim: Simulation,
) -> None:
    sim.script.acts["two"] = [Hold()]
    execution_id = await started(sim, scheduled=True)
    while await sim.deliver():
        pass
    died = sim.clock.now()
    await sim.kill()
    await sim.run()
    body = await sim.read(execution_id)
    history = [[one["outcome"] for one in step["attempt_history"]] for step in body["steps"]]
    assert (body["status"], history) == ("success", [["success"], ["lost", "success"], ["success"]])
    assert sim.script.steps() == ["one", "two", "two", "three"]
    assert sim.script.ran[2].at - died <= RECOVERY
    assert await sim.listed() == [(execution_id, "success")]
    await sim.assert_nothing_left()


@pytest.mark.parametrize("how", ["well", "badly", "surely"])
@pytest.mark.parametrize("works", [True, False], ids=["while it works", "while it is asleep"])
async def test_a_worker_taken_for_dead_records_nothing_beside_its_successor(
    sim: Simulation, how: str, works: bool
) -> None:
    gates = [Gate(), Gate()]
    sim.script.acts["one"] = [gates[0], gates[1] if works else fails(retry_after=100)]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 1}, {"id": "two"})
    await sim.run(minutes=3)
    before = await sim.read(execution_id)
    gates[0].end(how)
    await sim.host.settled()
    assert await sim.read(execution_id) == before
    gates[1].release()
    await sim.run()
    body = await sim.read(execution_id)
    outcomes = [one["outcome"] for one in body["steps"][0]["attempt_history"]]
    assert outcomes == (["lost", "success"] if works else ["lost", "failed", "success"])
    assert (body["status"], sim.script.times(execution_id, "two")) == ("success", 1)
    await sim.assert_nothing_left()
