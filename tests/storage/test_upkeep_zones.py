"""Upkeep, tick and sweep: what is slow, broken or forgotten at one place holds up no other."""

import logging
from itertools import count

import pytest

from scheduler.dispatch.control import ZONE_STATE, Control
from scheduler.dispatch.ids import ExecutionId, key_of, shard_of
from scheduler.errors import StorageUnavailable
from scheduler.execution.upkeep.upkeep import THOROUGH_MINUTES
from scheduler.storage.tables import Delete
from tests.storage.accidents import SlowClock, at_rest, forgive, put
from tests.storage.scripted import Hold, dies
from tests.storage.simulation import AUTHOR, CALLER, START, UNDECLARED, Simulated, Simulation
from tests.storage.test_control import ADMIN, finish, say
from tests.storage.wire import Killed, Mode

HOURLY = {"type": "cron", "expression": "0 * * * *"}
LATER_WAITER = "wait:20261123T020000.000000Z:later.20261123T020000Z"


def job_in(shard: str) -> str:
    """The id of a job whose rows are in this shard of the Jobs table."""
    return next(name for name in map("job{}".format, count()) if shard_of(name) == shard)


async def test_an_upkeep_that_does_not_get_through_lets_go_the_held_runs_that_it_saw(
    sim: Simulation,
) -> None:
    ids = [await sim.execute(f"job{number}", {"id": "one"}) for number in range(6)]
    await say(sim, "stopped")
    await at_rest(sim)
    slow = sim.new_app(SlowClock(sim.clock, 6))
    await slow.controls.write(ADMIN, {"state": "running"})
    for _ in range(3):
        await at_rest(sim)
        await slow.upkeep.run()
    await at_rest(sim)
    assert {one.execution_id for one in sim.script.ran} == set(ids)
    await sim.run()
    await sim.assert_nothing_left()


async def test_upkeep_looks_at_the_line_of_a_job_once_and_at_each_run_in_it_once(
    patient: Simulation,
) -> None:
    sim, hold = patient, Hold()
    await sim.create("job", {"id": "one"}, schedule=HOURLY)
    sim.script.acts["one"] = [hold]
    await sim.execute("job")
    await sim.deliver()
    span = {"from": "2026-11-22T00:00:00Z", "to": "2026-11-22T12:30:00Z"}
    in_line = (await sim.app.backfills.backfill(CALLER, AUTHOR, "job", span))["count"]
    await at_rest(sim)
    sim.clock.advance(61)
    await sim.app.upkeep.run()
    sim.clock.advance(60)
    sim.wire.counts.clear()
    await sim.app.upkeep.run()
    assert in_line > 10
    assert sim.wire.counts["Executions query"] == 1
    assert sim.wire.counts["Executions get"] <= in_line + 8  # of the first: whether it may enter
    assert sim.wire.counts["Executions batch"] == 0
    hold.release()
    await sim.host.settled()
    await finish(sim, "job")


async def test_a_parked_run_that_was_cancelled_is_told_though_the_canceller_died_before(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1, lease_seconds=86_400)
    hold = Hold()
    sim.script.acts["one"] = [hold]
    await sim.execute("first", {"id": "one", "timeout": 6_900}, timeout_seconds=86_400)
    await sim.deliver()
    parked = await sim.execute("second", {"id": "two"}, timeout_seconds=86_400)
    await at_rest(sim)
    await sim.be_down(minutes=1)
    sim.wire.arm(1, Mode.KILLED_BEFORE, lambda kind: kind == "Days batch")
    with pytest.raises(Killed):
        await sim.new_app().executions.cancel(CALLER, AUTHOR, parked, {}, 0)
    assert await sim.listed() == []
    await sim.run(minutes=THOROUGH_MINUTES + 1)
    assert await sim.listed() == [(parked, "cancelled")]
    assert [key for key in await sim.leftovers() if parked in key] == []
    hold.release()
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_run_whose_step_runs_and_has_lost_its_row_is_given_up(sim: Simulation) -> None:
    sim.script.acts["one"] = [dies()]
    execution_id = await sim.execute("job", {"id": "one"}, timeout_seconds=86_400)
    await sim.deliver()
    key = key_of(ExecutionId(execution_id))
    await sim.storage.executions.commit("job", [Delete(key.step_row(0), None)])
    await sim.run()
    assert {type(one) for one in forgive(sim)} == {LookupError}
    body = await sim.read(execution_id)
    assert body["status"] == "failed"
    assert body["message"].endswith("LookupError: the row of step one, which runs, is gone")
    assert sim.script.steps() == ["one"]
    await sim.assert_nothing_left()


async def test_a_waiter_of_a_later_version_is_left_alone_and_blocks_nobody(
    sim: Simulation,
) -> None:
    waiter = "later.20261123T020000Z"
    await put(sim, LATER_WAITER, {"v": 2, "execution_id": waiter, "rank": "a"})
    execution_id = await sim.execute("job", {"id": "one"})
    await at_rest(sim)
    await sim.app.upkeep.run()
    assert (await sim.read(execution_id))["status"] == "success"
    assert await sim.leftovers() == [LATER_WAITER]
    queue = sim.app.dispatcher.queue_of("UTC")
    await sim.storage.zones.commit(queue, [Delete(LATER_WAITER, None)])
    await sim.assert_nothing_left()


async def test_a_fault_of_storage_in_one_zone_does_not_hide_a_bug_met_in_another(
    sim: Simulation, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: Control, queue: str) -> None:
        raise KeyError("a bug of ours")

    await sim.execute("east", {"id": "one"}, timezone="Asia/Tokyo")
    await sim.execute("middle", {"id": "two"}, timezone="UTC")
    await at_rest(sim)
    await put(sim, ZONE_STATE, {"v": 1, "state": "paused"})  # not the word: upkeep marks anew
    monkeypatch.setattr(Control, "mark", broken)
    sim.wire.arm(2, Mode.REFUSED, lambda kind: kind == "Zones query")  # after that of the zones
    with caplog.at_level(logging.WARNING, "scheduler"), pytest.raises(StorageUnavailable):
        await sim.app.upkeep.run()
    told = [str(one.exc_info) for one in caplog.records if one.levelno == logging.ERROR]
    assert ["a bug of ours" in one for one in told] == [True]
    assert sim.failures == ["upkeep of a zone failed"]
    forgive(sim)
    monkeypatch.undo()
    await sim.app.upkeep.run()
    await sim.assert_nothing_left()


async def test_a_queue_that_cannot_be_peeked_does_not_keep_the_sweep_from_the_others(
    sim: Simulation,
) -> None:
    for step, zone in (("first", "Africa/Abidjan"), ("second", UNDECLARED)):
        await sim.execute(f"job-{step}", {"id": step}, timezone=zone)
    await sim.host.lose_messages("relay")
    sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "tz peek")
    with pytest.raises(StorageUnavailable):
        await sim.app.run_tick()
    await at_rest(sim)
    assert sim.script.steps() == ["second"]
    await sim.app.run_tick()
    await at_rest(sim)
    assert sim.script.steps() == ["second", "first"]
    await sim.assert_nothing_left()


async def test_a_shard_that_cannot_be_read_does_not_keep_the_tick_from_the_others(
    sim: Simulation,
) -> None:
    first, *others = map(job_in, "07af")
    due = START.replace(minute=5, second=0)
    for job_id in (first, *others):
        at = {"type": "once", "expression": due.isoformat()}
        await sim.create(job_id, {"id": job_id}, schedule=at)
    await sim.be_down(minutes=4)
    sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "Jobs query")  # of shard 0
    with pytest.raises(StorageUnavailable):
        await sim.app.run_tick()
    await sim.be_down(seconds=(due - sim.clock.now()).total_seconds())
    await at_rest(sim)
    assert sorted(sim.script.steps()) == sorted(others)
    await sim.run(minutes=2)
    assert sorted(sim.script.steps()) == sorted((first, *others))
    await finish(sim, first, *others)
