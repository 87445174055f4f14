"""Each request to storage on the way of a scheduled run fails once, in each way: it ends right."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduler.dispatch.ids import scheduled_id
from scheduler.errors import StorageUnavailable
from tests.storage.simulation import Simulated, Simulation
from tests.storage.wire import Fault, Mode

ONE_STEP = (({"id": "one"},), range(1, 12))
"""The steps, and the places of the requests that are broken: here, all."""
THREE_STEPS = (({"id": "one"}, {"id": "two"}, {"id": "three"}), range(8, 14))
"""Here, from the first record to the second follower: the others are as above."""
DONE = (Mode.DROPPED, Mode.LOST)
"""The modes in which the request did its work."""


def on_the_way(kind: str) -> bool:
    """Whether a request belongs to a run; the queries of the tick look for any."""
    return kind != "Jobs query"


async def drive(sim: Simulation, due: datetime) -> None:
    """Lets the tick announce a run and the host work on it, as far as it gets without timers."""
    try:
        await sim.app.tick.run()
    except StorageUnavailable as error:
        sim.faults.append(error.message)
    await sim.be_down(seconds=(due - sim.clock.now()).total_seconds())
    while await sim.deliver():
        pass


async def disturbed(
    sim: Simulation, steps: tuple[dict[str, str], ...], at: int, mode: Mode
) -> tuple[Fault, str]:
    """Runs a job whose `at`-th request fails; the fault, and the id of the execution."""
    due = (sim.clock.now() + timedelta(seconds=130)).replace(microsecond=0)
    schedule = {"type": "once", "expression": due.isoformat()}
    job_id = await sim.create(f"{mode}-{at}", *steps, schedule=schedule)
    execution_id = scheduled_id(job_id, due)
    await sim.be_down(seconds=15)
    fault = sim.wire.arm(at, mode, on_the_way)
    await drive(sim, due)
    sim.wire.fault = None
    await sim.run()
    return fault, execution_id


def check(sim: Simulation, body: dict[str, Any], fault: Fault) -> None:
    """The run succeeded, and a step ran twice only where its record was not written."""
    where = f"{fault.mode} at {fault.at}: {fault.hit}"
    assert body["status"] == "success", where
    lost = 0
    for step in body["steps"]:
        times = sim.script.times(body["execution_id"], step["step_id"])
        outcomes = [one["outcome"] for one in step["attempt_history"]]
        assert outcomes in (["success"], ["lost", "success"]), where
        lost += len(outcomes) - 1
        unrecorded = fault.hit == "Executions batch" and fault.mode not in DONE
        assert times == 1 or (times == 2 and unrecorded and outcomes[0] == "lost"), where
    assert lost <= 1, where


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize(("steps", "places"), [ONE_STEP, THREE_STEPS], ids=["one", "three"])
async def test_a_run_ends_right_whichever_of_its_requests_fails(
    sim: Simulation, mode: Mode, steps: tuple[dict[str, str], ...], places: range
) -> None:
    for place in places:
        fault, execution_id = await disturbed(sim, steps, place, mode)
        assert fault.hit is not None
        check(sim, await sim.read(execution_id), fault)
        assert (execution_id, "success") in await sim.listed()
        await sim.assert_nothing_left()


async def test_a_write_that_the_sdk_repeats_is_known_as_our_own(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(storage_retries=1)
    steps, places = ONE_STEP
    for place in places:
        fault, execution_id = await disturbed(sim, steps, place, Mode.DROPPED)
        assert fault.hit is not None
        body = await sim.read(execution_id)
        assert (body["status"], body["steps"][0]["attempts"]) == ("success", 1)
        assert sim.script.times(execution_id, "one") == 1
        await sim.assert_nothing_left()
    assert sim.faults == []
