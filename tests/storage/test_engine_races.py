"""What happens when two workers, or a worker and a timer, meet between two writes."""

from tests.storage.scripted import Hold
from tests.storage.simulation import Simulation

SOON = {"type": "once", "expression": "2026-11-23T02:03:00Z"}


async def test_a_tick_that_announces_a_run_anew_after_its_end_leaves_no_slot_behind(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"}, schedule=SOON)
    sim.clock.advance(60)
    slow_tick = sim.new_app()

    async def run_it() -> None:
        await sim.app.tick.run()
        sim.clock.advance(120)
        await sim.host.show()
        await sim.deliver()
        sim.clock.advance(-60)

    sim.wire.before("Zones batch", run_it)
    await slow_tick.tick.run()
    await slow_tick.close()
    await sim.run()
    assert sim.script.steps() == ["one"]
    await sim.assert_nothing_left()


async def test_a_queued_run_waits_without_a_slot(patient: Simulation) -> None:
    hold = Hold()
    patient.script.acts["one"] = [hold]
    every_minute = {"type": "cron", "expression": "* * * * *", "overlap": "queue"}
    await patient.create("job", {"id": "one"}, schedule=every_minute)
    await patient.run(minutes=3)
    assert await patient.slots() == ["job.20261123T020100Z"]
    await patient.drop_job("job")
    hold.release()
    await patient.run()
    assert patient.script.steps() == ["one", "one", "one"]
    await patient.assert_nothing_left()


async def test_a_queued_run_whose_turn_came_starts_though_its_message_was_never_sent(
    sim: Simulation,
) -> None:
    hold = Hold()
    sim.script.acts["one"] = [hold]
    await sim.create("job", {"id": "one"}, schedule={**SOON, "overlap": "queue"})
    first = await sim.execute("job")
    await sim.deliver()
    second = await sim.execute("job")
    await sim.deliver()
    assert [row["status"] for row in [await sim.read(first), await sim.read(second)]] == [
        "running",
        "pending",
    ]
    sim.wire.before("tz send", sim.host.kill_workers)
    hold.release()
    await sim.run()
    assert (await sim.read(second))["status"] == "success"
    await sim.assert_nothing_left()


async def test_upkeep_that_meets_a_run_at_its_end_makes_no_row_for_it_again(
    sim: Simulation,
) -> None:
    execution_id = await sim.execute("inline", {"id": "one"})
    sim.clock.advance(100)
    sim.wire.before("Zones batch", sim.deliver)
    await sim.app.upkeep.run()
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()
    assert await sim.app.upkeep.run() == 0
