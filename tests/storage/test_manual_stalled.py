"""Runs that somebody asks for, made by an instance that stalls on the way or dies."""

import pytest

from scheduler.errors import StorageUnavailable
from tests.storage.accidents import PAUSES, at_rest, upkeep_after
from tests.storage.simulation import Simulation
from tests.storage.wire import Killed, Mode

YEARLY = {"type": "cron", "expression": "0 3 1 1 *"}


@pytest.fixture
async def ready(sim: Simulation) -> Simulation:
    """A scheduler with a job, in a zone that is in use already."""
    await sim.create("job", {"id": "one"}, schedule=YEARLY)
    await sim.execute("other", {"id": "other"})
    await at_rest(sim)
    sim.script.ran.clear()
    return sim


async def states(sim: Simulation) -> list[str]:
    """Those of all executions of the job."""
    rows = sim.storage.executions.query("job", "r:", "r;")
    return [str(row.values["state"]) async for row in rows]


async def announced(sim: Simulation) -> list[str]:
    """The keys of the `run:` rows."""
    return [key for key in await sim.leftovers() if key.startswith("run:")]


async def finish(sim: Simulation) -> None:
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


@pytest.mark.parametrize("end", [Mode.REFUSED, Mode.KILLED_BEFORE])
async def test_a_run_made_late_whose_start_is_not_sent_is_started_by_upkeep(
    ready: Simulation, end: Mode
) -> None:
    sim, other = ready, ready.new_app()

    async def stall() -> None:
        """Another instance finds the announcement, and handles the start that it sends for it."""
        sim.clock.advance(70)
        await other.upkeep.run()
        ((queue, message),) = await sim.host.take(other)
        await sim.host.hand_over(other, queue, message)
        sim.wire.arm(1, end, lambda kind: kind == "tz send")

    sim.wire.before("Executions batch", stall)
    with pytest.raises((StorageUnavailable, Killed)):
        await sim.execute("job")
    await sim.replace_if_dead()
    assert await states(sim) == ["pending"]
    await sim.run(minutes=5)
    assert await states(sim) == ["success"]
    assert sim.script.steps() == ["one"]
    await finish(sim)


async def test_a_run_that_takes_over_five_minutes_to_make_is_not_made_and_its_caller_is_told(
    ready: Simulation,
) -> None:
    sim = ready

    async def stall() -> None:
        sim.clock.advance(301)

    sim.wire.before("Zones batch", stall)
    with pytest.raises(StorageUnavailable, match="took too long to make: ask again"):
        await sim.execute("job")
    assert await states(sim) == []
    assert len(await announced(sim)) == 1
    again = await sim.execute("job")
    await at_rest(sim)
    assert (await sim.read(again))["status"] == "success"
    for pause in PAUSES:
        await upkeep_after(sim, seconds=pause)
    assert sim.script.steps() == ["one"]
    await finish(sim)


async def test_an_announcement_of_a_run_that_nobody_made_is_gone_after_half_an_hour(
    ready: Simulation,
) -> None:
    sim = ready
    sim.wire.arm(1, Mode.KILLED_BEFORE, lambda kind: kind == "Executions batch")
    with pytest.raises(Killed):
        await sim.execute("job")
    await sim.replace_if_dead()
    *pauses, last = PAUSES
    for pause in pauses:
        await upkeep_after(sim, seconds=pause)
        assert len(await announced(sim)) == 1
    await upkeep_after(sim, seconds=last)
    assert await announced(sim) == []
    assert await states(sim) == []
    await finish(sim)
