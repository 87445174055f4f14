"""Upkeep among broken runs, ownerless slots, runs about to wake, and starts that nobody takes."""

from datetime import timedelta
from itertools import pairwise

import pytest

from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.run_index import run_key
from scheduler.storage.tables import Delete, Upsert, Value
from steps.contract import StepContext, StepFailed, StepResult
from tests.storage.scripted import Hold, Script
from tests.storage.simulation import Simulation

LATER = {"type": "once", "expression": "2026-11-23T07:00:00Z"}
SLOT = "slot:07"


def utc(sim: Simulation) -> str:
    return sim.app.dispatcher.queue_of("UTC")


async def put(sim: Simulation, key: str, values: dict[str, Value]) -> None:
    """Writes a row of the zone UTC."""
    await sim.storage.zones.commit(utc(sim), [Upsert(key, values)])


async def lost_start(sim: Simulation) -> ExecutionId:
    """A run that only upkeep can start."""
    execution_id = ExecutionId(await sim.execute("job", {"id": "one"}))
    await sim.host.lose_messages()
    return execution_id


def assert_told_of_the_slot(sim: Simulation) -> None:
    assert sim.failures == ["a slot without a run"]
    sim.failures.clear()


@pytest.mark.parametrize("key", ["run:garbage", "run:a.20261123T020000Z"])
async def test_a_run_row_that_cannot_be_read_does_not_keep_upkeep_from_the_others(
    sim: Simulation, key: str
) -> None:
    execution_id = await lost_start(sim)
    await put(sim, key, {"v": 1, "announced": "yesterday"})
    sim.clock.advance(61)
    await sim.app.upkeep.run()
    while await sim.deliver():
        pass
    assert (await sim.read(execution_id))["status"] == "success"
    assert await sim.leftovers() == [key]


async def test_a_run_whose_definition_is_gone_is_given_up_and_the_others_are_looked_after(
    sim: Simulation,
) -> None:
    async def lose_the_follower(script: Script, context: StepContext) -> StepResult:
        sim.wire.before("tz send", sim.host.kill_workers)
        return StepResult()

    sim.script.acts["one"] = [lose_the_follower, lose_the_follower]
    ids = {}
    for job_id in ("broken", "fine"):
        steps = ({"id": "one"}, {"id": "two"})
        await sim.create(job_id, *steps, schedule=LATER, timeout_seconds=86_400)
        ids[job_id] = await sim.execute(job_id)
        await sim.deliver()
    row = await sim.app.catalog.require("broken")
    await sim.storage.definitions.delete(f"broken/{row.definition}")
    for job_id in ids:
        await sim.drop_job(job_id)
    await sim.restart()
    await sim.host.lose_messages()
    await sim.run(minutes=3)
    assert await sim.listed() == [(ids["fine"], "success")]
    await sim.run()
    sim.host.crashes.clear()
    sim.failures.clear()
    body = await sim.read(ids["broken"])
    assert body["status"] == "failed"
    assert body["message"].startswith("poison_message: the scheduler itself failed at this")
    assert (
        f"definition_lost: the definition {row.definition} of job broken is gone"
        in (body["message"])
    )
    assert [(one["step_id"], one["status"]) for one in body["steps"]] == [
        ("one", "success"),
        ("two", "skipped"),
    ]
    await sim.assert_nothing_left()


async def test_a_slot_without_a_run_row_is_freed_when_its_run_is_over(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.run()
    await put(sim, SLOT, {"v": 1, "execution_id": execution_id})
    await sim.app.upkeep.run()
    assert await sim.slots() == []
    assert_told_of_the_slot(sim)
    await sim.assert_nothing_left()


@pytest.mark.parametrize(
    "values",
    [{"execution_id": "job.20261123T020000Z"}, {"execution_id": "garbage"}, {"v": 1}],
    ids=["unknown", "no id", "empty"],
)
async def test_a_slot_of_no_known_run_is_freed_and_does_not_hold_up_upkeep(
    sim: Simulation, values: dict[str, Value]
) -> None:
    execution_id = await lost_start(sim)
    await put(sim, SLOT, values)
    sim.clock.advance(61)
    await sim.app.upkeep.run()
    assert SLOT not in await sim.leftovers()
    assert_told_of_the_slot(sim)
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_slot_without_a_run_row_gets_it_back_while_its_run_goes_on(
    patient: Simulation,
) -> None:
    hold = Hold()
    patient.script.acts["one"] = [hold]
    execution_id = ExecutionId(await patient.execute("job", {"id": "one"}))
    await patient.deliver()
    key = run_key(execution_id)
    await patient.storage.zones.commit(utc(patient), [Delete(key, None)])
    await patient.app.upkeep.run()
    assert key in await patient.leftovers()
    assert await patient.slots() == [execution_id]
    assert_told_of_the_slot(patient)
    hold.release()
    await patient.run()
    assert (await patient.read(execution_id))["status"] == "success"
    await patient.assert_nothing_left()


async def test_upkeep_leaves_the_slot_to_a_sleeping_run_that_is_about_to_go_on(
    sim: Simulation,
) -> None:
    held: list[list[str]] = []

    async def sleep_and_die(script: Script, context: StepContext) -> StepResult:
        sim.wire.before("Zones batch", sim.host.kill_workers)
        raise StepFailed("broken", "by the test", retry_after=100)

    async def look(script: Script, context: StepContext) -> StepResult:
        held.append(await sim.slots())
        return StepResult()

    sim.script.acts["one"] = [sleep_and_die, look]
    sleeper = await sim.execute("job", {"id": "one", "max_retries": 1})
    await sim.deliver()
    assert await sim.slots() == [sleeper]
    await sim.be_down(seconds=100)
    sim.wire.before("Executions batch", sim.app.upkeep.run)
    await sim.deliver()
    assert held == [[sleeper]]
    await sim.run()
    assert (await sim.read(sleeper))["status"] == "success"
    await sim.assert_nothing_left()


async def test_upkeep_frees_the_slot_of_a_run_that_died_as_it_fell_asleep(sim: Simulation) -> None:
    async def sleep_and_die(script: Script, context: StepContext) -> StepResult:
        sim.wire.before("Zones batch", sim.host.kill_workers)
        raise StepFailed("broken", "by the test", retry_after=300)

    sim.script.acts["one"] = [sleep_and_die]
    sleeper = await sim.execute("job", {"id": "one", "max_retries": 1})
    await sim.deliver()
    assert await sim.slots() == [sleeper]
    await sim.run(minutes=2)
    assert await sim.slots() == []
    await sim.run()
    assert (await sim.read(sleeper))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_start_that_nobody_takes_is_sent_again_after_ever_longer_pauses(
    sim: Simulation,
) -> None:
    await lost_start(sim)
    sim.wire.counts.clear()
    sent = [sim.clock.now()]
    for _ in range(110):
        sim.clock.advance(30)
        await sim.app.upkeep.run()
        if sim.wire.counts.pop("tz send", 0):
            sent.append(sim.clock.now())
    pauses = [later - one for one, later in pairwise(sent)]
    assert pauses == sorted(pauses)
    assert timedelta(seconds=60) < pauses[0] <= timedelta(seconds=90)
    assert pauses[-1] <= timedelta(minutes=15, seconds=30)
    assert 4 <= len(pauses) <= 8
