"""Each request to storage on the way of a scheduled run fails once, in each way: it ends right."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduler.dispatch.ids import scheduled_id
from scheduler.errors import StorageUnavailable
from tests.storage.scripted import Hold
from tests.storage.simulation import Simulated, Simulation
from tests.storage.wire import DONE, FAILURES, Fault, Mode

ONE_STEP = (({"id": "one"},), range(1, 12))
"""The steps, and the places of the requests that are broken: here, all."""
THREE_STEPS = (({"id": "one"}, {"id": "two"}, {"id": "three"}), range(8, 14))
"""Here, from the first record to the second follower: the others are as above."""
SAMPLED = 6
"""Of the many requests of two runs, only each sixth is broken here; 1 breaks all, in a minute."""


def on_the_way(kind: str) -> bool:
    """Whether a request belongs to a run; the queries of the tick look for any."""
    return kind != "Jobs query"


async def drive(sim: Simulation, due: datetime) -> None:
    """Lets the tick announce a run and the host work on it, as far as it gets without timers."""
    try:
        await sim.app.tick.run()
    except StorageUnavailable as error:
        sim.host.faults.append(error.message)
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


@pytest.mark.parametrize(
    ("mode", "steps", "places"),
    [
        *((mode, *ONE_STEP) for mode in FAILURES),
        *((mode, *THREE_STEPS) for mode in (Mode.REFUSED, Mode.DROPPED)),
    ],
)
async def test_a_run_ends_right_whichever_of_its_requests_fails(
    sim: Simulation, mode: Mode, steps: tuple[dict[str, str], ...], places: range
) -> None:
    for place in places:
        fault, execution_id = await disturbed(sim, steps, place, mode)
        assert fault.hit is not None
        check(sim, await sim.read(execution_id), fault)
        assert (execution_id, "success") in await sim.listed()
        await sim.assert_nothing_left()


@pytest.mark.parametrize("mode", [Mode.LOST, Mode.DROPPED])
async def test_with_one_repetition_by_the_sdk_no_fault_is_felt(
    new_simulation: Simulated, mode: Mode
) -> None:
    sim = await new_simulation(storage_retries=1)
    steps, places = ONE_STEP
    for place in places:
        fault, execution_id = await disturbed(sim, steps, place, mode)
        assert fault.hit is not None
        body = await sim.read(execution_id)
        assert (body["status"], body["steps"][0]["attempts"]) == ("success", 1)
        assert sim.script.times(execution_id, "one") == 1
        await sim.assert_nothing_left()
    assert sim.host.faults == []


async def two_runs_in_line(sim: Simulation, overlap: str, at: int, mode: Mode) -> None:
    """Two runs of a job, of which the second waits for the first; the `at`-th request fails."""
    schedule = {"type": "cron", "expression": "0 0 1 1 *", "overlap": overlap}
    job_id = await sim.create(f"{mode}-{at}", *ONE_STEP[0], schedule=schedule)
    hold = Hold()
    sim.script.acts["one"] = [hold]
    ids = [await sim.execute(job_id), await sim.execute(job_id)]
    fault = sim.wire.arm(at, mode)
    while await sim.deliver():
        pass
    hold.release()
    while await sim.deliver():
        pass
    sim.wire.fault = None
    await sim.drop_job(job_id)
    await sim.run()
    for execution_id in ids:
        where = f"{mode} at {at}: {fault.hit}"
        assert (await sim.read(execution_id))["status"] == "success", where
        assert sim.script.times(execution_id, "one") in (1, 2), where
        assert (execution_id, "success") in await sim.listed(), where
    await sim.assert_nothing_left()


@pytest.mark.parametrize("overlap", ["allow", "queue"], ids=["for a slot", "for its turn"])
@pytest.mark.parametrize(("mode", "first"), [(Mode.REFUSED, 1), (Mode.DROPPED, 4)])
async def test_a_run_that_waits_is_started_whichever_request_fails(
    new_simulation: Simulated, overlap: str, mode: Mode, first: int
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1)
    for place in range(first, 29, SAMPLED):
        await two_runs_in_line(sim, overlap, place, mode)
