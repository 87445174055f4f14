"""The line of a job's runs: who comes next, when, and that nobody passes or is left in it."""

from scheduler.dispatch.ids import ExecutionId, key_of
from scheduler.dispatch.run_index import run_key
from scheduler.storage.tables import Row, Upsert
from tests.storage.accidents import (
    at_rest,
    dies_before,
    forgive,
    put,
    send_start,
    upkeep_after,
)
from tests.storage.scripted import Hold, succeeds
from tests.storage.simulation import AUTHOR, CALLER, START, Simulation
from tests.storage.test_control import finish, say

HOURLY = {"type": "cron", "expression": "0 * * * *"}
YEARLY = {"type": "cron", "expression": "0 3 1 1 *"}
EVERY_MINUTE = {"type": "cron", "expression": "* * * * *"}


async def made_up(sim: Simulation, last: str, first: str = "2026-11-22T00:00:00Z") -> list[str]:
    """Runs of a backfill; they stand in line."""
    body = {"from": first, "to": last}
    reply = await sim.app.backfills.backfill(CALLER, AUTHOR, "job", body)
    await at_rest(sim)
    return [one["execution_id"] for one in reply["executions"]]


async def run_row(sim: Simulation, execution_id: str) -> Row:
    key = key_of(ExecutionId(execution_id))
    row = await sim.storage.executions.get(key.job_id, key.run_row)
    assert row is not None
    return row


async def queue_rows(sim: Simulation) -> list[str]:
    """The ids in the line of the job, the first come first."""
    rows = sim.storage.executions.query("job", "!queue:", "!queue;")
    return [str(row.values["execution_id"]) async for row in rows]


async def test_the_head_of_the_line_starts_as_soon_as_a_run_ends_that_does_not_queue_itself(
    patient: Simulation,
) -> None:
    sim, hold = patient, Hold()
    await sim.create("job", {"id": "one"}, schedule=HOURLY)
    sim.script.acts["one"] = [hold]
    await sim.execute("job")
    await sim.deliver()
    (waiting,) = await made_up(sim, "2026-11-22T00:30:00Z")
    assert sim.script.busy == 1
    hold.release()
    await at_rest(sim)
    assert (await sim.read(waiting))["status"] == "success"
    assert sim.clock.now() == START
    await finish(sim, "job")


async def test_a_backfill_gets_its_turn_beside_a_schedule_that_is_busy_at_each_upkeep(
    patient: Simulation,
) -> None:
    sim, holds = patient, [Hold() for _ in range(4)]
    await sim.create("job", {"id": "one"}, schedule=EVERY_MINUTE)
    sim.script.acts["one"] = list(holds)
    await sim.run(START.replace(minute=1, second=10))
    (waiting,) = await made_up(sim, "2026-11-22T00:00:30Z")
    for minute, hold in enumerate(holds, 1):
        await sim.run(START.replace(minute=minute, second=45))
        hold.release()
        await sim.host.settled()
    assert waiting in {one.execution_id for one in sim.script.ran[:2]}
    assert sim.script.most_busy == 1
    await at_rest(sim)
    assert (await sim.read(waiting))["status"] == "success"
    await finish(sim, "job")


async def test_a_run_that_is_active_already_is_taken_from_the_line_and_keeps_its_deadline(
    patient: Simulation,
) -> None:
    sim, hold, active = patient, Hold(), Hold()
    await sim.create("job", {"id": "one"}, schedule=HOURLY, timeout_seconds=600)
    sim.script.acts["one"] = [hold, active]
    await sim.execute("job")
    await sim.deliver()
    head, behind = await made_up(sim, "2026-11-22T01:30:00Z")
    sim.wire.before("Days batch", sim.host.kill_workers)
    hold.release()
    await sim.host.settled()
    await send_start(sim, head)
    await at_rest(sim)
    before = await run_row(sim, head)
    assert (before.values["state"], await queue_rows(sim)) == ("running", [head, behind])
    await upkeep_after(sim, seconds=61)
    assert (await run_row(sim, head)).values["deadline"] == before.values["deadline"]
    assert await queue_rows(sim) == [behind]
    active.release()
    await at_rest(sim)
    assert [(await sim.read(one))["status"] for one in (head, behind)] == ["success"] * 2
    await finish(sim, "job")


async def test_a_run_put_aside_and_back_leaves_the_mark_of_the_run_that_is_active_now(
    patient: Simulation,
) -> None:
    sim, hold = patient, Hold()
    await sim.create("job", {"id": "one"}, {"id": "two"}, schedule=YEARLY)
    sim.script.acts["one"] = [dies_before(sim, "tz send", succeeds()), hold]
    broken = await sim.execute("job")
    await sim.deliver()
    whole = (await run_row(sim, broken)).values["steps"]
    key = key_of(ExecutionId(broken))
    await sim.storage.executions.commit("job", [Upsert(key.run_row, {"steps": "no JSON"})])
    aside = f"aside:{run_key(key.execution_id)}"
    while aside not in await sim.leftovers():
        await upkeep_after(sim, seconds=60)
    assert forgive(sim) != []

    active = await sim.execute("job")
    await at_rest(sim)
    await sim.storage.executions.commit("job", [Upsert(key.run_row, {"steps": whole})])
    await put(sim, aside, {"again": True})
    for _ in range(3):
        await upkeep_after(sim, seconds=60)
    assert (await sim.read(broken))["status"] == "success"
    assert (await sim.read(active))["status"] == "running"
    third = await sim.execute("job")
    await at_rest(sim)
    assert (await sim.read(third))["status"] == "skipped"
    hold.release()
    await finish(sim, "job")


async def test_a_run_that_is_held_makes_way_for_one_that_somebody_asks_for(sim: Simulation) -> None:
    due = START.replace(minute=2, second=0)
    await sim.create("job", {"id": "one"}, schedule={"type": "once", "expression": due.isoformat()})
    await sim.app.run_tick()
    await sim.host.lose_messages()
    await sim.be_down(seconds=(due - START).total_seconds())
    held = "job.20261123T020200Z"
    await send_start(sim, held)
    sim.wire.before("Zones batch", sim.host.kill_workers)  # it is active, and has no slot yet
    await sim.deliver()
    assert "!current" in await sim.leftovers()
    await say(sim, "paused")
    await send_start(sim, held)
    await at_rest(sim)
    assert (await sim.read(held))["status"] == "pending"
    manual = await sim.execute("job")
    await at_rest(sim)
    assert (await sim.read(manual))["status"] == "success"
    await say(sim, "running")
    await sim.run(minutes=1)
    assert (await sim.read(held))["status"] == "success"
    await finish(sim, "job")
