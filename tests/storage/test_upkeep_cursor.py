"""An upkeep that cannot get through in its minute: it stops in time, and the next goes on there."""

from collections import Counter
from datetime import timedelta

from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.run_index import PREFIX
from scheduler.execution.upkeep.upkeep import LONGEST, Upkeep
from scheduler.storage.tables import Row, Upsert
from tests.storage.accidents import SlowClock
from tests.storage.simulation import DECLARED, Simulation

RUNS = 12


def slow_upkeep(sim: Simulation, seconds: float) -> Upkeep:
    """An upkeep that needs so many seconds for everything."""
    return sim.new_app(SlowClock(sim.clock, seconds)).upkeep


async def lost_starts(sim: Simulation) -> None:
    """Runs in two zones whose start messages are lost."""
    for zone in DECLARED:
        for number in range(RUNS):
            name = f"job-{zone[:3].lower()}-{number:02d}"
            await sim.execute(name, {"id": "one"}, timezone=zone)
    await sim.host.lose_messages()
    sim.clock.advance(61)


async def sends(sim: Simulation) -> Counter[str]:
    """How often each run's start has been sent again."""
    counts: Counter[str] = Counter()
    for zone in DECLARED:
        queue = sim.app.dispatcher.queue_of(zone)
        async for row in sim.storage.zones.query(queue, PREFIX, "run;"):
            counts[row.key] = int(str(row.values.get("sends") or 0))
    return counts


async def beat(sim: Simulation) -> Row:
    row = await sim.storage.control.get("control", "upkeep")
    assert row is not None
    return row


async def test_an_upkeep_that_is_slow_stops_within_its_minute_and_the_next_goes_on_there(
    sim: Simulation,
) -> None:
    await lost_starts(sim)
    calls = 0
    while not calls or (await beat(sim)).values["zones_left"]:
        began = sim.clock.now()
        await slow_upkeep(sim, 1.5).run()
        calls += 1
        assert sim.clock.now() - began <= LONGEST + timedelta(seconds=15)
        assert calls < 20
    assert calls > 1
    counts = await sends(sim)
    assert len(counts) == 2 * RUNS
    assert all(counts.values())  # some twice, where the calls together took two minutes
    await sim.run()
    assert len(await sim.listed()) == 2 * RUNS
    await sim.assert_nothing_left()


async def test_a_slow_upkeep_gets_to_every_zone_and_none_waits_for_ever(sim: Simulation) -> None:
    await lost_starts(sim)
    for _ in range(2 * RUNS + 2):
        await slow_upkeep(sim, 46).run()
    counts = await sends(sim)
    assert len(counts) == 2 * RUNS
    assert all(count >= 1 for count in counts.values())


async def test_what_upkeep_left_is_told_in_the_status(sim: Simulation) -> None:
    await lost_starts(sim)
    await sim.app.run_tick()
    await slow_upkeep(sim, 10).run()
    status = await sim.app.status.status()
    (check,) = (one for one in status["checks"] if one["name"] == "upkeep")
    assert check["status"] == "warning"
    assert check["detail"].startswith("upkeep did not get through")


async def test_a_beat_that_cannot_be_read_does_not_stop_upkeep(sim: Simulation) -> None:
    await lost_starts(sim)
    await sim.storage.control.commit("control", [Upsert("upkeep", {"at": "now", "cursor": "x"})])
    assert await sim.app.upkeep.run() == 2 * RUNS
    assert (await beat(sim)).values["unfinished"] == 2 * RUNS


async def test_upkeep_reads_the_rows_of_active_runs_and_of_no_others(sim: Simulation) -> None:
    await sim.execute("done", {"id": "one"})
    await sim.run()
    sim.wire.log.clear()
    await sim.app.upkeep.run()
    idle = Counter(sim.wire.log)
    assert idle["Executions get"] == 0
    for number in range(3):
        await sim.execute(f"job-{number}", {"id": "one"})
    sim.wire.log.clear()
    await sim.app.upkeep.run()
    assert Counter(sim.wire.log)["Executions get"] == 0  # arriving, and not overdue yet
    ids = [ExecutionId(key.removeprefix(PREFIX)) for key in await sends(sim)]
    assert len(ids) == 3
