"""Runs that our own code fails at: counted, given up after ten in a row, or put aside."""

import json
import re
from datetime import timedelta

import pytest

from scheduler.dispatch.ids import ExecutionId, key_of
from scheduler.dispatch.run_index import run_key
from scheduler.execution.upkeep.failures import MAX_FAILURES, failures_of
from scheduler.storage.tables import Row, Upsert, Value
from tests.storage.outage import bad_spell, of_a_table
from tests.storage.scripted import Hold, dies
from tests.storage.simulation import Simulated, Simulation
from tests.storage.wire import Mode

LONG = {"timeout_seconds": 604_800}
SECRET = "a-password-of-a-connection"


@pytest.fixture
async def single(new_simulation: Simulated) -> Simulation:
    """A scheduler with one place in each zone."""
    return await new_simulation(max_concurrent_per_timezone=1)


def utc(sim: Simulation) -> str:
    return sim.app.dispatcher.queue_of("UTC")


async def run_row(sim: Simulation, execution_id: str) -> Row | None:
    """The `run:` row of an execution."""
    return await sim.storage.zones.get(utc(sim), run_key(ExecutionId(execution_id)))


async def spoil(sim: Simulation, execution_id: str, values: dict[str, Value]) -> Row:
    """Garbles columns of a run row; returns it as it was."""
    key = key_of(ExecutionId(execution_id))
    row = await sim.storage.executions.get(key.job_id, key.run_row)
    assert row is not None
    await sim.storage.executions.commit(key.job_id, [Upsert(key.run_row, values)])
    return row


async def spoil_definition(sim: Simulation, job_id: str) -> None:
    """Puts a definition in a job's place that can be decrypted, and not be read."""
    row = await sim.app.catalog.require(job_id)
    text = sim.app.cipher.encrypt(b'{"id": 7}')
    await sim.storage.definitions.put(f"{job_id}/{row.definition}", text)
    await sim.restart()


def crashes(sim: Simulation) -> int:
    """How many errors of our own reached the host; they are forgotten."""
    count = len(sim.host.crashes)
    sim.host.crashes.clear()
    sim.failures.clear()
    return count


async def test_a_run_that_our_code_fails_at_ten_times_in_a_row_fails_and_says_so(
    single: Simulation,
) -> None:
    sim = single
    await sim.create("broken", {"id": "one"}, {"id": "two"}, **LONG)
    execution_id = await sim.execute("broken")
    await spoil_definition(sim, "broken")
    other = await sim.execute("fine", {"id": "three"})
    await sim.run()
    assert crashes(sim) >= MAX_FAILURES - 1
    body = await sim.read(execution_id)
    assert body["status"] == "failed"
    told = re.match(
        r"poison_message: the scheduler itself failed at this execution (\d+) times in a row,"
        r" the last time with: definition_lost: the definition \w+ of job broken cannot be read",
        body["message"],
    )
    assert told is not None
    assert int(told[1]) >= MAX_FAILURES
    assert [step["status"] for step in body["steps"]] == ["skipped", "skipped"]
    assert (execution_id, "failed") in await sim.listed()
    assert (await sim.read(other))["status"] == "success"
    assert sim.script.steps() == ["three"]
    await sim.assert_nothing_left()


async def test_the_step_of_a_run_that_is_given_up_says_why_it_failed(single: Simulation) -> None:
    sim = single
    sim.script.acts["one"] = [dies()]
    await sim.create("broken", {"id": "one"}, **LONG)
    execution_id = await sim.execute("broken")
    await sim.deliver()
    await spoil_definition(sim, "broken")
    await sim.run()
    assert crashes(sim) > 0
    (step,) = (await sim.read(execution_id))["steps"]
    assert (step["status"], step["error_code"]) == ("failed", "poison_message")
    assert step["attempt_history"][-1]["outcome"] == "failed"
    await sim.assert_nothing_left()


async def test_a_living_worker_is_not_given_up_and_what_it_does_counts(
    patient: Simulation,
) -> None:
    hold = Hold()
    patient.script.acts["one"] = [hold]
    execution_id = await patient.execute("job", {"id": "one"}, **LONG)
    await patient.deliver()
    failures: dict[str, Value] = {
        "failures": MAX_FAILURES,
        "failure": "x",
        "failed_at": patient.clock.now(),
    }
    key = run_key(ExecutionId(execution_id))
    await patient.storage.zones.commit(utc(patient), [Upsert(key, failures)])
    patient.clock.advance(30)
    await patient.app.upkeep.run()
    hold.release()
    await patient.run()
    assert (await patient.read(execution_id))["status"] == "success"
    await patient.assert_nothing_left()


async def test_storage_that_is_away_never_counts(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, **LONG)
    bad_spell(sim.wire, Mode.BUSY, seconds=1_200, matches=of_a_table)
    await sim.run(minutes=19)
    row = await run_row(sim, execution_id)
    assert row is not None
    assert failures_of(row).count == 0
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_failures_count_from_one_again_once_the_run_has_moved_on(sim: Simulation) -> None:
    hold = Hold()
    sim.script.acts["two"] = [hold]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"}, **LONG)
    failed_before: dict[str, Value] = {"failures": 7, "failure": "x", "failed_at": sim.clock.now()}
    key = run_key(ExecutionId(execution_id))
    await sim.storage.zones.commit(utc(sim), [Upsert(key, failed_before)])
    sim.clock.advance(1)
    await sim.deliver()
    await sim.app.engine._failures.note(utc(sim), ExecutionId(execution_id), ValueError("again"))
    row = await run_row(sim, execution_id)
    assert row is not None
    assert failures_of(row).count == 1
    hold.release()
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_run_row_that_cannot_be_read_is_put_aside_and_holds_up_nobody(
    single: Simulation,
) -> None:
    sim = single
    hold = Hold()
    sim.script.acts["one"] = [hold]
    job_id = await sim.create(
        "job", {"id": "one"}, {"id": "two"}, schedule={"type": "cron", "expression": "0 0 1 1 *"}
    )
    execution_id = await sim.execute(job_id)
    await sim.deliver()
    good = await spoil(sim, execution_id, {"steps": "no JSON"})
    hold.release()
    waiting = await sim.execute("other", {"id": "three"})
    await sim.run(minutes=30)
    assert crashes(sim) > 0
    assert (await sim.read(waiting))["status"] == "success"
    aside = f"aside:{run_key(ExecutionId(execution_id))}"
    assert await sim.leftovers() == [aside]
    assert await sim.slots() == []
    again = await sim.execute(job_id)
    await sim.run(minutes=2)
    assert (await sim.read(again))["status"] == "success"

    await spoil(sim, execution_id, {"steps": good.values["steps"]})
    await sim.storage.zones.commit(utc(sim), [Upsert(aside, {"again": True})])
    await sim.drop_job(job_id)
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_what_is_told_of_a_failure_names_no_secret(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(connections={"main": f"Driver=x;PWD={SECRET}"})
    execution_id = await sim.execute("job", {"id": "one"}, **LONG)
    await spoil(sim, execution_id, {"state": f"PWD={SECRET}"})
    await sim.deliver()
    assert crashes(sim) == 1
    row = await run_row(sim, execution_id)
    assert row is not None
    told = failures_of(row)
    assert told.count == 1
    assert SECRET not in json.dumps(told.text)


async def test_ten_failures_take_minutes_and_not_days(sim: Simulation) -> None:
    await sim.create("broken", {"id": "one"}, **LONG)
    execution_id = await sim.execute("broken")
    await spoil_definition(sim, "broken")
    began = sim.clock.now()
    await sim.run()
    crashes(sim)
    assert (await sim.read(execution_id))["end_time"] - began < timedelta(minutes=15)
