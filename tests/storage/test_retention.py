"""What is older than `SCHEDULER_RETENTION_DAYS` is erased, and definitions that nobody needs."""

from datetime import timedelta

import pytest

from scheduler.storage.tables import Upsert
from tests.storage.accidents import SlowClock, broken_off
from tests.storage.faults import SEED, Tried, fault_tests, places
from tests.storage.past import LATER, ended, left, upkeep
from tests.storage.scripted import Hold
from tests.storage.simulation import AUTHOR, CALLER, Simulated, Simulation
from tests.storage.wire import Mode

pytestmark = fault_tests
MODES = (Mode.REFUSED, Mode.LOST, Mode.KILLED_AFTER)


async def test_what_is_too_old_goes_with_all_that_belongs_to_it_and_the_younger_stays(
    sim: Simulation,
) -> None:
    await ended(sim, "old")
    await sim.be_down(days=60)
    (young,) = await ended(sim, "young")
    await sim.run(minutes=10)
    before = await left(sim)
    assert {name: len(keys) for name, keys in before.items()} == {
        "Executions": 6,
        "Days": 4,
        "Stats": 2,
        "outputs": 2,
        "definitions": 2,
    }
    await upkeep(sim, timedelta(days=32))
    young_ones = {name: [key for key in keys if "young" in key] for name, keys in before.items()}
    assert young_ones == await left(sim)
    assert (await sim.read(young))["status"] == "failed"
    await upkeep(sim, timedelta(days=60))
    assert await left(sim) == {}


async def test_an_execution_is_kept_for_so_many_days_and_no_more_than_one_longer(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(retention_days=2)
    await ended(sim, "job")  # at two in the morning
    await upkeep(sim, timedelta(days=2, hours=21))
    assert "Executions" in await left(sim)
    await upkeep(sim, timedelta(hours=1))
    assert "Executions" not in await left(sim)


async def test_the_runs_of_a_job_that_goes_on_go_day_by_day(sim: Simulation) -> None:
    nightly = {"type": "cron", "expression": "0 3 * * *"}
    await sim.create("job", {"id": "one"}, schedule=nightly)
    for _ in range(3):
        await sim.be_down(minutes=58)
        await sim.run(minutes=3)
        await sim.be_down(minutes=23 * 60 - 1)
    await upkeep(sim, timedelta(days=88))
    page = await sim.app.execution_list.history({}, "job")
    assert [str(one["scheduled_time"].date()) for one in page[0]["executions"]] == [
        "2026-11-25",
        "2026-11-24",
    ]


async def test_what_an_unfinished_retry_reads_stays_until_that_is_old_too(sim: Simulation) -> None:
    (source,) = await ended(sim, "job")
    sim.clock.advance(95 * 24 * 3_600)
    sim.script.acts["two"] = [hold := Hold()]
    retry = (await sim.app.executions.retry(CALLER, AUTHOR, source, {}, 0)).execution_id
    await sim.deliver()
    await sim.app.run_upkeep()
    before = await left(sim)
    assert [key for key in before["Executions"] if f":{source}" in key] != []
    hold.release()
    await sim.run()
    assert (await sim.read(retry))["steps"][0]["output_url"] is not None
    await upkeep(sim, LATER)
    assert await left(sim) == {}


async def test_a_run_whose_end_is_not_told_yet_stays(sim: Simulation) -> None:
    (execution_id,) = await ended(sim, "job")
    queue = sim.app.dispatcher.queue_of("UTC")
    later = {"v": 99}  # of a version that this one leaves alone
    await sim.storage.zones.commit(queue, [Upsert(f"run:{execution_id}", later)])
    await upkeep(sim, LATER)
    assert len((await left(sim))["Executions"]) == 3
    await sim.storage.zones.remove(queue, [f"run:{execution_id}"])
    (other,) = await ended(sim, "job")
    assert other != execution_id
    await upkeep(sim, LATER)
    assert await left(sim) == {}


async def test_a_row_that_cannot_be_read_holds_up_no_other(sim: Simulation) -> None:
    (spoilt,) = await ended(sim, "job")
    await ended(sim, "job", "other")
    (key,) = [
        row.split()[1]
        for row in (await left(sim))["Executions"]
        if row.startswith("job r:") and row.endswith(spoilt)
    ]
    await sim.storage.executions.commit("job", [Upsert(key, {"steps": "{", "state": "?"})])
    await upkeep(sim, LATER)
    assert (await left(sim)) != {}
    assert {row.split()[0] for row in (await left(sim))["Executions"]} == {"job"}
    assert len([row for row in (await left(sim))["Executions"] if " r:" in row]) == 1


async def test_one_that_does_not_get_through_in_its_time_goes_on_the_next_time(
    sim: Simulation,
) -> None:
    names = [f"job{number}" for number in range(12)]
    await ended(sim, *names)
    sim.clock.move_to(sim.clock.now() + LATER)
    slow, calls = sim.new_app(SlowClock(sim.clock, 0.5)), 0
    while "Executions" in await left(sim):
        await slow.run_upkeep()
        calls += 1
        assert calls < 30
    assert calls > 1


@pytest.mark.parametrize("mode", MODES)
async def test_broken_off_anywhere_it_goes_on_the_next_time(
    sim: Simulation, mode: Mode, tried: Tried
) -> None:
    for place in places(range(1 + SEED % 9, 28, 9)):
        await ended(sim, f"job{place}", f"more{place}")
        await sim.app.run_upkeep()
        sim.clock.move_to(sim.clock.now() + LATER)
        await sim.restart()
        fault = await broken_off(sim, place, mode, sim.app.run_upkeep())
        if fault.hit is None:
            return
        tried()
        await upkeep(sim)
        assert await left(sim) == {}


async def test_a_definition_goes_when_no_job_has_it_and_no_run_is_left_of_it(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"})
    body = {"name": "job", "steps": [{"id": "one", "type": "scripted", "name": "changed"}]}
    sim.clock.advance(80 * 24 * 3_600)
    await sim.execute("job")
    await sim.run()
    for name in ("never ran", "last"):
        await sim.app.jobs.replace(CALLER, AUTHOR, "job", {**body, "name": name}, None)
    assert len((await left(sim))["definitions"]) == 3
    await upkeep(sim, timedelta(days=60))  # the first is old enough, but has a run
    assert len((await left(sim))["definitions"]) == 3
    await upkeep(sim, timedelta(days=35))
    (last,) = (await left(sim))["definitions"]
    await sim.execute("job")
    await sim.run()
    assert (await sim.app.catalog.require("job")).definition == last.rpartition("/")[2]
    await sim.drop_job("job")
    await upkeep(sim, LATER)
    assert await left(sim) == {}


async def test_a_definition_that_is_stored_anew_right_then_stays(sim: Simulation) -> None:
    steps = [{"id": "one", "type": "scripted"}]
    for name in ("first", "second"):
        await sim.app.jobs.replace(CALLER, AUTHOR, "job", {"name": name, "steps": steps}, None)
    sim.clock.move_to(sim.clock.now() + LATER)

    async def overtake() -> None:
        body = {"name": "first", "steps": steps}
        await sim.app.jobs.replace(CALLER, AUTHOR, "job", body, None)

    sim.wire.before("definitions delete", overtake)
    await upkeep(sim)
    await sim.restart()
    execution_id = await sim.execute("job")
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"


async def test_what_it_costs_follows_the_jobs_and_not_the_executions(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    for _ in range(30):
        await sim.execute("job", force=True)
        await sim.run()
    sim.clock.move_to(sim.clock.now() + LATER)
    await sim.restart()
    began = len(sim.wire.log)
    await sim.app.run_upkeep()
    asked = sim.wire.log[began:]
    assert "Executions" not in await left(sim)
    own = [kind for kind in asked if kind.startswith(("Executions", "outputs"))]
    assert len(own) < 12, own
    assert asked.count("Days batch") == 1
