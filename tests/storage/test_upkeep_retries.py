"""Retries and messages that get lost: upkeep sends them in time, and not too often."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest

from scheduler.dispatch.ids import ExecutionId, key_of
from scheduler.storage.tables import Upsert
from steps.contract import StepContext
from tests.storage.accidents import (
    at_rest,
    dies_before,
    nobody_takes_messages,
    upkeep_after,
)
from tests.storage.host import HIDDEN_SECONDS
from tests.storage.scripted import Act, Ended, Hold, Script, dies, fails, succeeds, takes
from tests.storage.simulation import Simulated, Simulation
from tests.storage.wire import Mode

OVERDUE = timedelta(seconds=120 + 60)
"""A retry that is two minutes overdue is sent by the next upkeep."""
STALL = timedelta(seconds=60 + 60)
LONG = {"timeout_seconds": 86_400}


def branch(name: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """A step that waits for no other."""
    return {"id": name, "depends_on": [], "timeout": 6_900, "max_retries": 1, **fields}


def after(hold: Hold, act: Act) -> Act:
    """Does as another act once the test lets it."""

    async def waiting(script: Script, context: StepContext) -> Ended:
        await hold(script, context)
        return await act(script, context)

    return waiting


async def statuses(sim: Simulation, execution_id: str) -> list[str]:
    """The state of an execution, and of each of its steps."""
    body = await sim.read(execution_id)
    return [body["status"], *(step["status"] for step in body["steps"])]


@pytest.mark.parametrize("sibling", ["sleeps", "runs"])
async def test_a_retry_whose_message_is_lost_comes_in_time_though_a_sibling_takes_longer(
    patient: Simulation, sibling: str
) -> None:
    sim, hold = patient, Hold()
    sim.script.acts["a"] = [dies_before(sim, "Jobs batch", fails(retry_after=900))]
    sim.script.acts["b"] = [hold if sibling == "runs" else fails(retry_after=3_600)]
    execution_id = await sim.execute("job", branch("a"), branch("b"), **LONG)
    await at_rest(sim)
    assert await statuses(sim, execution_id) == [
        "running" if sibling == "runs" else "retrying",
        "retrying",
        "running" if sibling == "runs" else "retrying",
    ]
    due = sim.script.ran[0].at + timedelta(seconds=900)
    await sim.be_down(seconds=HIDDEN_SECONDS)
    await at_rest(sim)  # the message of the worker that died has come back, too early for the retry
    await sim.be_down(seconds=900 - HIDDEN_SECONDS)
    await sim.run(minutes=4)
    (again,) = (one for one in sim.script.ran if (one.step, one.attempt) == ("a", 2))
    assert due <= again.at <= due + OVERDUE
    hold.release()
    await sim.host.settled()
    if sibling == "sleeps":
        await sim.be_down(minutes=40)
    await sim.run()
    assert await statuses(sim, execution_id) == ["success"] * 3
    await sim.assert_nothing_left()


async def test_a_retry_comes_in_time_though_the_reply_to_its_record_was_lost_in_a_race(
    patient: Simulation,
) -> None:
    sim = patient
    gate, running, quick = Hold(), Hold(), Hold()
    sim.script.acts["a"] = [after(gate, fails(retry_after=30))]
    sim.script.acts["b"], sim.script.acts["c"] = [running], [quick]
    execution_id = await sim.execute("job", *map(branch, "abc"), **LONG)
    await at_rest(sim)
    assert sim.script.busy == 3

    # Of the record of `a` the reply is lost, and when `a` looks whether it was done, `c`, which has
    # waited for its turn long enough, has written the row meanwhile.
    lost = sim.wire.arm(1, Mode.LOST, lambda kind: kind == "Executions batch")

    async def end_of_c() -> None:
        quick.release()
        await asyncio.wait({*sim.host.workers}, return_when=asyncio.FIRST_COMPLETED)

    sim.wire.between(1, lambda kind: kind == "Executions get" and lost.hit is not None, end_of_c)
    due = sim.clock.now() + timedelta(seconds=30)
    gate.release()
    await sim.host.settled()
    assert await statuses(sim, execution_id) == ["running", "retrying", "running", "success"]
    await sim.run(minutes=5)
    (again,) = (one for one in sim.script.ran if (one.step, one.attempt) == ("a", 2))
    assert due <= again.at <= due + OVERDUE
    running.release()
    await sim.run()
    assert await statuses(sim, execution_id) == ["success"] * 4
    await sim.assert_nothing_left()


async def test_a_dead_worker_is_found_beside_a_retry_that_comes_too_late_to_begin(
    sim: Simulation,
) -> None:
    sim.script.acts["a"], sim.script.acts["b"] = [fails(retry_after=30)], [dies()]
    execution_id = await sim.execute("job", branch("a"), branch("b"), timeout_seconds=100)
    await at_rest(sim)
    await sim.host.lose_messages()
    assert await statuses(sim, execution_id) == ["running", "retrying", "running"]
    await sim.be_down(minutes=5)
    await sim.run(minutes=2)
    assert await statuses(sim, execution_id) == ["timeout", "timeout", "failed"]
    assert sim.script.steps() == ["a", "b"]
    await sim.assert_nothing_left()


@pytest.mark.parametrize("how", ["killed", "refused"])
async def test_a_run_whose_worker_fails_before_it_gives_its_slot_back_sleeps_without_one(
    new_simulation: Simulated, how: str
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1)

    async def refused(script: Script, context: StepContext) -> Ended:
        sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "Executions get")
        return await fails(retry_after=1_800)(script, context)

    killed = dies_before(sim, "Executions get", fails(retry_after=1_800))
    sim.script.acts["one"] = [killed if how == "killed" else refused]
    sleeper = await sim.execute("sleeper", {"id": "one", "max_retries": 1}, **LONG)
    await sim.deliver()
    other = await sim.execute("other", {"id": "two"})
    assert await sim.slots() == [sleeper]
    await sim.run(minutes=3)
    assert (await sim.read(other))["status"] == "success"
    assert (await sim.slots(), await statuses(sim, sleeper)) == ([], ["retrying"] * 2)
    await sim.be_down(minutes=26)
    await sim.run()
    assert await statuses(sim, sleeper) == ["success"] * 2
    await sim.assert_nothing_left()


@pytest.mark.parametrize("of", ["start", "step"])
async def test_after_messages_that_nobody_took_a_crash_is_met_as_fast_as_any_other(
    sim: Simulation, of: str
) -> None:
    crash = dies_before(sim, "tz send", takes(1))
    steps = ({"id": "one"}, {"id": "two"}, {"id": "three"})
    execution_id = await sim.execute("job", *steps, **LONG)
    if of == "step":
        sim.script.acts["one"] = [crash]
        await sim.deliver()
    before = sim.script.steps()
    await nobody_takes_messages(sim)
    sim.script.acts["one" if of == "start" else "two"] = [crash]
    await upkeep_after(sim, seconds=901)
    (crashed,) = (one.at for one in sim.script.ran[len(before) :])
    await sim.run(crashed + STALL)
    assert len(sim.script.ran) > len(before) + 1
    await sim.run()
    assert await statuses(sim, execution_id) == ["success"] * 4
    assert sim.script.steps() == ["one", "two", "three"]
    await sim.assert_nothing_left()


async def test_after_starts_that_nobody_took_a_run_that_was_handed_a_slot_starts_in_time(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1, lease_seconds=86_400)
    hold = Hold()
    sim.script.acts["one"] = [hold]
    await sim.execute("first", {"id": "one", "timeout": 6_900}, **LONG)
    await sim.deliver()
    parked = await sim.execute("second", {"id": "two"}, **LONG)
    await nobody_takes_messages(sim)
    await upkeep_after(sim, seconds=901)
    assert [key for key in await sim.leftovers() if key.startswith("wait:")] != []
    sim.wire.before("tz send", sim.host.kill_workers)
    hold.release()
    await sim.host.settled()
    await sim.host.lose_messages()
    granted = sim.clock.now()
    assert await sim.slots() == [parked]
    await sim.run(minutes=3)
    (start,) = (one.at for one in sim.script.ran if one.step == "two")
    assert start <= granted + STALL
    await sim.assert_nothing_left()


async def test_a_run_that_stands_still_without_a_trace_of_what_was_sent_goes_on(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [dies_before(sim, "tz send", succeeds())]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"}, **LONG)
    await sim.deliver()
    await sim.host.lose_messages()
    key = key_of(ExecutionId(execution_id))
    row = await sim.storage.executions.get(key.job_id, key.run_row)
    assert row is not None
    steps = json.loads(str(row.values["steps"]))
    unsent = [{name: step[name] for name in step.keys() - {"sent"}} for step in steps]
    assert unsent != steps
    changed = Upsert(key.run_row, {"steps": json.dumps(unsent)})
    await sim.storage.executions.commit(key.job_id, [changed])
    crashed = sim.clock.now()
    await sim.run(minutes=3)
    assert sim.script.steps() == ["one", "two"]
    assert sim.script.ran[-1].at <= crashed + STALL
    await sim.run()
    await sim.assert_nothing_left()


async def test_the_message_of_a_step_to_take_over_is_sent_again_after_ever_longer_pauses(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [dies()]
    execution_id = await sim.execute("job", {"id": "one"}, **LONG)
    await sim.deliver()
    await sim.host.lose_messages()
    for _ in range(30):
        await sim.be_down(seconds=60)
        await sim.app.upkeep.run()
    assert 3 <= await sim.storage.queues.length(sim.app.dispatcher.queue_of("UTC")) <= 5
    await sim.run()
    assert await statuses(sim, execution_id) == ["success"] * 2
    assert sim.script.steps() == ["one", "one"]
    await sim.assert_nothing_left()


async def test_no_attempt_begins_after_the_deadline_though_a_sibling_runs_on(
    patient: Simulation,
) -> None:
    sim, hold = patient, Hold()
    sim.script.acts["a"] = [hold]
    execution_id = await sim.execute("job", branch("a"), branch("b"), timeout_seconds=100)
    await sim.deliver()
    sim.clock.advance(200)
    await at_rest(sim)
    assert sim.script.steps() == ["a"]
    hold.release()
    await sim.run()
    assert await statuses(sim, execution_id) == ["timeout", "success", "skipped"]
    await sim.assert_nothing_left()
