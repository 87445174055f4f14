"""Slots and lines: none leaks and nobody is forgotten, whichever way two things pass each other."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.storage.scripted import Hold
from tests.storage.simulation import AUTHOR, CALLER, START, Simulated, Simulation

EVERY_MINUTE = {"type": "interval", "expression": "1m"}


@pytest.fixture
async def single(new_simulation: Simulated) -> Simulation:
    """A scheduler that runs one execution of a zone at a time."""
    return await new_simulation(max_concurrent_per_timezone=1, lease_seconds=86_400)


def ended(sim: Simulation, hold: Hold) -> Callable[[], Awaitable[None]]:
    """Lets the only step that runs end, and waits until its worker has done all that is owed."""
    (worker,) = sim.host.workers

    async def end() -> None:
        hold.release()
        await asyncio.wait({worker})

    return end


async def test_jobs_whose_runs_queue_leave_no_slot_behind_however_often_they_overlap(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=2, lease_seconds=86_400)
    ids = []
    for number in range(3):
        schedule = {**EVERY_MINUTE, "overlap": "queue", "end_at": "2026-11-23T02:03:00Z"}
        job_id = await sim.create(f"job{number}", {"id": "one"}, {"id": "two"}, schedule=schedule)
        ids += [await sim.execute(job_id) for _ in range(4)]
    await sim.run()
    assert await sim.slots() == []
    assert [(await sim.read(one))["status"] for one in ids] == ["success"] * len(ids)
    assert len(sim.script.ran) == 2 * (len(ids) + 3 * 2)
    assert sim.script.most_busy <= 2
    await sim.assert_nothing_left()


@pytest.mark.parametrize("seconds", [0, 30, 61], ids=["far ahead", "near", "after the run is due"])
@pytest.mark.parametrize("overlap", ["skip", "allow", "queue"])
async def test_a_job_that_moves_to_another_zone_leaves_nothing_in_either(
    sim: Simulation, seconds: int, overlap: str
) -> None:
    schedule = {**EVERY_MINUTE, "overlap": overlap, "anchor": "2026-11-23T02:00:00Z"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.app.tick.run()
    sim.clock.advance(seconds)
    await sim.app.jobs.patch(CALLER, AUTHOR, "job", {"timezone": "Asia/Tokyo"}, None)
    await sim.run(START.replace(minute=3, second=5))
    ids = [one.execution_id for one in sim.script.ran]
    assert ids == [f"job.20261123T020{minute}00Z" for minute in (1, 2, 3)]
    assert [(await sim.read(one))["status"] for one in ids] == ["success"] * 3
    assert (await sim.slots("UTC"), await sim.slots("Asia/Tokyo")) == ([], [])
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_parked_run_that_is_granted_a_slot_while_it_expires_leaves_none_behind(
    single: Simulation,
) -> None:
    hold = Hold()
    single.script.acts["one"] = [hold]
    await single.execute("first", {"id": "one"})
    await single.deliver()
    late = await single.execute("late", {"id": "one"}, timeout_seconds=60)
    while await single.deliver():
        pass
    single.clock.advance(61)
    granted: list[str] = []

    async def hand_over() -> None:
        hold.release()
        await single.deliver()
        granted.extend(await single.slots())

    single.wire.before("Days batch", hand_over)
    await single.app.upkeep.run()
    assert granted == [late]
    assert (await single.read(late))["status"] == "timeout"
    assert await single.slots() == []
    await single.run()
    assert single.script.steps() == ["one"]
    await single.assert_nothing_left()


async def test_a_run_that_is_parked_just_after_the_slot_was_freed_gets_it_at_once(
    single: Simulation,
) -> None:
    hold = Hold()
    single.script.acts["one"] = [hold]
    await single.execute("first", {"id": "one"})
    await single.deliver()
    second = await single.execute("second", {"id": "one"})
    single.wire.before("Zones batch", ended(single, hold))
    while await single.deliver():
        pass
    assert (await single.read(second))["status"] == "success"
    assert single.clock.now() == START
    await single.assert_nothing_left()


async def test_a_run_that_stands_in_line_just_after_the_active_one_has_ended_is_started(
    patient: Simulation,
) -> None:
    hold = Hold()
    patient.script.acts["one"] = [hold]
    schedule = {"type": "once", "expression": "2026-11-23T07:00:00Z", "overlap": "queue"}
    await patient.create("job", {"id": "one"}, schedule=schedule)
    await patient.execute("job")
    await patient.deliver()
    second = await patient.execute("job")
    patient.wire.before("Executions query", ended(patient, hold))
    while await patient.deliver():
        pass
    assert (await patient.read(second))["status"] == "success"
    assert patient.clock.now() == START
    await patient.drop_job("job")
    await patient.assert_nothing_left()
