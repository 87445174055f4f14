"""What a job's executions come to: each is counted once, whatever broke meanwhile."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from scheduler.dispatch.ids import shard_of
from scheduler.errors import StorageUnavailable
from scheduler.execution.history import rollup
from scheduler.storage.keys import inverted
from scheduler.storage.tables import Upsert
from tests.storage.accidents import broken_off
from tests.storage.faults import SEED, Tried, fault_tests, places
from tests.storage.scripted import Hold, fails, takes
from tests.storage.simulation import AUTHOR, CALLER, START, Simulated, Simulation
from tests.storage.wire import Mode

pytestmark = fault_tests
MODES = (Mode.REFUSED, Mode.LOST, Mode.KILLED_AFTER)
YEARLY = {"type": "cron", "expression": "0 3 1 6 *"}
COUNTED_WITHIN = 8
"""Minutes: two for what is on its way, five from one roll-up to the next, and the upkeep itself."""


async def totals(sim: Simulation, job_id: str) -> dict[str, Any]:
    body, _ = await sim.app.execution_list.history({"limit": "1"}, job_id)
    found: dict[str, Any] = body["totals"]
    return found


async def ends(sim: Simulation, job_id: str, *acts: Any) -> str:  # noqa: ANN401
    """An execution that has ended."""
    sim.script.acts["one"] = list(acts)
    execution_id = await sim.execute(job_id, {"id": "one"})
    await sim.run()
    return execution_id


async def test_a_jobs_history_begins_with_what_its_executions_come_to(sim: Simulation) -> None:
    assert (await totals_of_none(sim))["by_status"] == {}
    await ends(sim, "job", takes(10))
    await ends(sim, "job", takes(20))
    await ends(sim, "job", fails())
    await ends(sim, "other", takes(99))
    await sim.run(minutes=COUNTED_WITHIN)
    found = await totals(sim, "job")
    entries = (await sim.app.execution_list.history({}, "job"))[0]["executions"]
    times = sorted((one["end_time"], one["status"]) for one in entries)
    as_of = found.pop("as_of")
    assert sim.clock.now() - timedelta(minutes=COUNTED_WITHIN) <= as_of < sim.clock.now()
    assert found == {
        "since": times[0][0],
        "executions": 3,
        "by_status": {"success": 2, "failed": 1},
        "average_seconds": 10.0,
        "longest_seconds": 20.0,
        "last_success": max(end for end, status in times if status == "success"),
        "last_failure": max(end for end, status in times if status == "failed"),
    }


async def totals_of_none(sim: Simulation) -> dict[str, Any]:
    await sim.create("job", {"id": "one"})
    found = await totals(sim, "job")
    await sim.drop_job("job")
    return found


async def test_a_second_page_has_no_totals(sim: Simulation) -> None:
    for _ in range(2):
        await ends(sim, "job")
    _, following = await sim.app.execution_list.history({"limit": "1"}, "job")
    assert following is not None
    page = await sim.app.execution_list.history({"continuation": following}, "job")
    assert "totals" not in page[0]


async def test_it_goes_on_from_where_it_stopped_over_the_change_of_a_day(sim: Simulation) -> None:
    for hours in (0, 5, 16.95, 1, 30):
        await sim.be_down(hours=hours)
        await ends(sim, "job")
        await sim.run(minutes=COUNTED_WITHIN)
    found = await totals(sim, "job")
    assert found["executions"] == 5
    await sim.run(minutes=20)
    assert {**await totals(sim, "job"), "as_of": None} == {**found, "as_of": None}


async def test_an_end_that_is_told_late_is_counted(sim: Simulation) -> None:
    await ends(sim, "job")
    sim.wire.arm(1, Mode.KILLED_BEFORE, lambda kind: kind == "Days batch")
    sim.script.acts["one"] = []
    await sim.execute("job", {"id": "one"})
    await sim.deliver()
    ended: datetime = sim.clock.now()
    await sim.run(minutes=COUNTED_WITHIN)
    found = await totals(sim, "job")
    assert found["executions"] == 2
    assert found["as_of"] > ended


async def test_nothing_is_passed_over_that_may_have_ended_and_is_not_told(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1, lease_seconds=86_400)
    sim.script.acts["one"] = [hold := Hold()]
    await sim.execute("holder", {"id": "one"})
    await sim.deliver()
    parked = await sim.execute("job", {"id": "one"})
    await sim.run(minutes=1)
    sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "Days batch")
    with pytest.raises(StorageUnavailable):
        await sim.app.executions.cancel(CALLER, AUTHOR, parked, {}, 0)
    cancelled = sim.clock.now()
    await sim.run(minutes=7)  # upkeep looks at those that are parked every ten minutes only
    assert (await totals(sim, "job"))["as_of"] < cancelled
    await sim.run(minutes=10)
    assert (await totals(sim, "job"))["by_status"] == {"cancelled": 1}
    hold.release()
    await sim.run()


def at(minute: int) -> datetime:
    """When upkeep comes in a minute."""
    return START.replace(minute=minute, second=30)


async def test_a_run_whose_start_is_sent_again_and_again_is_counted_once_it_has_ended(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [hold := Hold()]
    await sim.create("job", {"id": "one"}, schedule={**YEARLY, "overlap": "skip"})
    await sim.app.run_upkeep()
    await sim.execute("job")
    await sim.deliver()
    await sim.execute("job")  # it is skipped; its day's list is told by whoever takes its start
    for minute in range(1, 6):
        sim.clock.move_to(at(minute))
        await sim.app.run_upkeep()
    hold.release()
    await sim.run(minutes=20)
    assert (await totals(sim, "job"))["by_status"] == {"skipped": 1, "success": 1}


async def test_a_coming_run_that_was_cancelled_and_is_told_late_is_counted(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"}, schedule={"type": "cron", "expression": "3 2 * * *"})
    await sim.app.run_upkeep()
    sim.clock.move_to(at(1))
    await sim.app.run_tick()
    sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "Days batch")
    with pytest.raises(StorageUnavailable):
        await sim.app.executions.cancel(CALLER, AUTHOR, "job.20261123T020300Z", {}, 0)
    for minute in range(2, 11):
        sim.clock.move_to(at(minute))
        await sim.app.run_upkeep()
    await sim.drop_job("job")
    await sim.run(minutes=20)
    assert (await totals(sim, "job"))["by_status"] == {"cancelled": 1}


async def test_while_a_run_is_parked_they_grow_no_older_than_ten_minutes_more(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1, lease_seconds=86_400)
    sim.script.acts["one"] = [hold := Hold()]
    await sim.execute("holder", {"id": "one"})
    await sim.deliver()
    await sim.execute("job", {"id": "one"})
    await sim.deliver()
    ages = []
    for minute in range(1, 40):
        sim.clock.move_to(at(minute))
        await sim.app.run_upkeep()
        as_of = (await totals(sim, "holder"))["as_of"]
        ages.append(sim.clock.now() - as_of)
    assert max(ages[12:]) <= timedelta(minutes=10 + COUNTED_WITHIN)
    hold.release()
    await sim.run()


async def test_an_entry_that_cannot_be_read_stops_nothing(sim: Simulation) -> None:
    await ends(sim, "job")
    bad = f"{inverted(sim.clock.now())}:bad.20261123T020000Z"
    await sim.storage.days.commit("20261123", [Upsert(bad, {"v": 2, "state": "paused"})])
    await ends(sim, "other")
    await sim.run(minutes=COUNTED_WITHIN)
    assert (await totals(sim, "job"))["executions"] == 1
    assert (await totals(sim, "other"))["executions"] == 1


async def test_totals_of_a_later_version_are_left_alone(sim: Simulation) -> None:
    await ends(sim, "job")
    await sim.run(minutes=COUNTED_WITHIN)
    later = Upsert("job", {"v": 2, "more": "than this version knows"})
    await sim.storage.stats.commit(shard_of("job"), [later])
    before = await sim.storage.stats.get(shard_of("job"), "job")
    await ends(sim, "job")
    await ends(sim, "other")
    await sim.run(minutes=COUNTED_WITHIN)
    assert await sim.storage.stats.get(shard_of("job"), "job") == before
    assert (await totals(sim, "other"))["executions"] == 1


async def test_of_two_that_count_at_once_neither_counts_twice(sim: Simulation) -> None:
    for _ in range(3):
        await ends(sim, "job", takes(1))
    sim.clock.move_to(sim.clock.now() + timedelta(minutes=4))
    await asyncio.gather(*(sim.new_app().run_upkeep() for _ in range(2)))
    await sim.run(minutes=COUNTED_WITHIN)
    assert (await totals(sim, "job"))["executions"] == 3


async def test_what_is_read_at_once_has_a_limit(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollup, "_MANY", 4)
    for _ in range(10):
        await ends(sim, "job", takes(90))
    await sim.restart()
    await sim.run(minutes=COUNTED_WITHIN)
    assert (await totals(sim, "job"))["executions"] == 10


@pytest.mark.parametrize("mode", MODES)
async def test_broken_off_anywhere_each_is_counted_once(
    sim: Simulation, mode: Mode, tried: Tried
) -> None:
    for place in places(range(1 + SEED % 7, 22, 7)):
        names = [f"job{place}-{number}" for number in range(3)]
        for name in names:
            for _ in range(2):
                await ends(sim, name)
        fault = await broken_off(sim, place, mode, sim.app.run_upkeep())
        await sim.run(minutes=COUNTED_WITHIN)
        for name in names:
            assert (await totals(sim, name))["executions"] == 2
        if fault.hit is None:
            return
        tried()
