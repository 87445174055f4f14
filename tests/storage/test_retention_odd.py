"""What retention must not erase, and what must not stop it."""

from datetime import timedelta
from typing import Any

import pytest

from scheduler.dispatch.ids import shard_of
from scheduler.execution.history import retention
from scheduler.storage.tables import Upsert
from tests.storage.past import LATER, ended, left, upkeep
from tests.storage.scripted import Hold, fails, succeeds
from tests.storage.simulation import AUTHOR, CALLER, Simulated, Simulation

NIGHTLY = {"type": "cron", "expression": "0 3 * * *"}
FAR = {"type": "cron", "expression": "0 3 1 6 *"}
SPAN = {"from": "2026-11-23T03:00:00Z", "to": "2026-11-23T03:01:00Z", "rerun": True}


async def retried(sim: Simulation, execution_id: str, **body: Any) -> str:  # noqa: ANN401
    reply = await sim.app.executions.retry(CALLER, AUTHOR, execution_id, body, 0)
    return reply.execution_id


async def run_rows(sim: Simulation, execution_id: str) -> list[str]:
    rows = (await left(sim)).get("Executions", [])
    return [row for row in rows if " r:" in row and row.endswith(execution_id)]


async def twice_for_one_instant(sim: Simulation) -> str:
    """A scheduled run, and one that makes up for it; the id of the first."""
    await sim.create("job", {"id": "one"}, {"id": "two"}, schedule=NIGHTLY)
    sim.script.acts["one"] = [succeeds("x" * 40_000), succeeds("x" * 40_000)]
    sim.script.acts["two"] = [fails(), fails()]
    await sim.be_down(minutes=58)
    await sim.run(minutes=3)
    await sim.app.backfills.backfill(CALLER, AUTHOR, "job", SPAN)
    await sim.run(minutes=2)
    return "job.20261123T030000Z"


async def test_nothing_is_left_of_two_executions_for_one_instant(sim: Simulation) -> None:
    await twice_for_one_instant(sim)
    await sim.drop_job("job")
    await upkeep(sim, LATER)
    assert await left(sim) == {}


async def test_of_two_for_one_instant_the_one_that_is_being_retried_stays(sim: Simulation) -> None:
    source = await twice_for_one_instant(sim)
    await sim.be_down(days=95)
    sim.script.acts["two"] = [hold := Hold()]
    await retried(sim, source, force=True)
    await sim.deliver()
    await upkeep(sim)
    assert await run_rows(sim, source) != []
    hold.release()


async def test_what_a_young_retry_took_over_stays_as_long_as_the_retry(sim: Simulation) -> None:
    (source,) = await ended(sim, "job")
    await sim.be_down(days=60)
    sim.script.acts["two"] = [fails()]
    retry = await retried(sim, source)
    await sim.run()
    before = await sim.read(retry)
    await upkeep(sim, timedelta(days=40))
    assert (await sim.read(retry))["steps"] == before["steps"]
    await sim.app.executions.erase(CALLER, retry)
    await upkeep(sim, timedelta(days=1))
    assert await left(sim) == {}


async def test_a_single_run_is_not_made_up_for_again_once_its_record_is_old(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(retention_days=1)
    once: dict[str, Any] = {"type": "once", "expression": "2026-11-23T02:10:00"}
    once |= {"catch_up": "latest", "catch_up_window_seconds": 604_800}
    steps = [{"id": "one", "type": "scripted"}]
    job = {"name": "job", "steps": steps, "schedule": once}
    await sim.app.jobs.replace(CALLER, AUTHOR, "job", job, None)
    await sim.be_down(minutes=8)
    await sim.run(minutes=4)
    await upkeep(sim, timedelta(days=3))
    for enabled in (False, True):
        body = {**job, "enabled": enabled}
        await sim.app.jobs.replace(CALLER, AUTHOR, "job", body, None)
    await sim.run(minutes=5)
    assert sim.script.steps() == ["one"]
    await upkeep(sim, timedelta(days=10))
    assert "Executions" not in await left(sim)


async def test_one_that_was_cancelled_far_ahead_stays_until_its_instant_is_past(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"}, schedule=FAR)
    far = "job.20270601T030000Z"
    await sim.app.executions.cancel(CALLER, AUTHOR, far, {}, 0)
    await sim.run(minutes=1)
    await upkeep(sim, LATER)
    found = await left(sim)
    assert await run_rows(sim, far) != []
    assert len(found["Days"]) == 2
    await sim.drop_job("job")
    await upkeep(sim, LATER)
    assert await left(sim) == {}


async def test_the_totals_go_when_the_job_does_after_its_executions(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    await sim.execute("job")
    await sim.run(minutes=10)
    await upkeep(sim, LATER)
    assert set(await left(sim)) == {"Stats", "definitions"}
    await sim.drop_job("job")
    assert await left(sim) == {}


async def test_a_job_stored_with_the_definition_that_is_being_erased_keeps_it(
    sim: Simulation,
) -> None:
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.run()

    async def store() -> None:
        await sim.create("job", {"id": "one"})

    sim.wire.before("definitions delete", store)
    await sim.app.executions.erase(CALLER, execution_id)
    await sim.restart()
    again = await sim.execute("job")
    await sim.run()
    assert (await sim.read(again))["status"] == "success"


async def test_an_entry_that_is_of_nothing_stops_nothing(sim: Simulation) -> None:
    await ended(sim, "job")
    await sim.storage.days.commit("20261123", [Upsert("00000000000000000:bad", {"v": 2})])
    await upkeep(sim, LATER)
    assert "Executions" not in await left(sim)


async def test_the_definitions_of_a_job_whose_row_cannot_be_read_stay_and_no_others(
    sim: Simulation,
) -> None:
    await sim.create("old", {"id": "one"})
    await sim.storage.jobs.commit(shard_of("odd"), [Upsert("job:odd", {"v": 2})])
    for job_id in ("odd", "gone"):
        await sim.storage.definitions.put(f"{job_id}/1", b"x", written=sim.clock.now())
    await sim.app.run_upkeep()
    await upkeep(sim, LATER)
    assert [one.partition("/")[0] for one in (await left(sim))["definitions"]] == ["odd", "old"]


async def test_a_retry_that_cannot_be_read_keeps_only_what_it_is_a_retry_of(
    sim: Simulation,
) -> None:
    other, source = [*await ended(sim, "job"), *await ended(sim, "job")]
    sim.script.acts["two"] = [fails()]
    retry = await retried(sim, source)
    await sim.run()
    (row,) = await run_rows(sim, retry)
    await sim.storage.executions.commit("job", [Upsert(row.split()[1], {"state": "later"})])
    await upkeep(sim, LATER)
    assert await run_rows(sim, other) == []
    assert await run_rows(sim, source) != []


async def test_a_day_of_many_pages_is_left_in_time(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_ENTRIES_AT_ONCE", 2)
    keys = [f"98204600789000000:job{n}.20261123T020010Z-{n:08x}" for n in range(60)]
    await sim.storage.days.commit("20261123", [Upsert(key, {"v": 1}) for key in keys])
    for number in range(60):
        await sim.storage.definitions.put(f"job{number}/1", b"x", written=sim.clock.now())
    await sim.run(minutes=10)
    sim.clock.move_to(sim.clock.now() + LATER)
    await sim.restart()

    async def slow(*_: object) -> None:
        sim.clock.advance(0.5)

    sim.wire.watcher = slow
    began = sim.clock.now()
    await sim.app.run_upkeep()
    assert sim.clock.now() - began < timedelta(seconds=45)
    sim.wire.watcher = None
    for _ in range(3):
        await sim.app.run_upkeep()
    assert await left(sim) == {}
