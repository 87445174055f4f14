"""What happens when two workers, or a worker and a timer, meet between two writes."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from functools import partial

import pytest

from scheduler.app import App
from scheduler.dispatch.ids import ExecutionId, scheduled_id
from scheduler.dispatch.messages import Message, MessageKind
from tests.storage.scripted import Hold
from tests.storage.simulation import Simulation

STALL_SECONDS = 61
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


type Meddling = Callable[[Simulation, App, str], Awaitable[object]]


async def tick_again(sim: Simulation, other: App, execution_id: str) -> None:
    await other.tick.run()


async def start_again(sim: Simulation, other: App, execution_id: str) -> None:
    start = Message(kind=MessageKind.START, execution_id=ExecutionId(execution_id))
    await other.engine.handle(other.dispatcher.queue_of("UTC"), start.encode(), 1)


async def step_again(sim: Simulation, other: App, execution_id: str) -> None:
    for step in ("one", "two"):
        message = Message(
            kind=MessageKind.STEP,
            execution_id=ExecutionId(execution_id),
            step=step,
            attempt=1,
        )
        await other.engine.handle(other.dispatcher.queue_of("UTC"), message.encode(), 1)


async def look_after(sim: Simulation, other: App, execution_id: str) -> None:
    sim.clock.advance(STALL_SECONDS)
    await other.upkeep.run()


@pytest.mark.parametrize(
    ("meddle", "places"),
    [
        (tick_again, range(1, 4)),  # later the due row is gone, and it finds nothing
        (start_again, range(4, 16)),
        (step_again, range(7, 16)),
        (look_after, range(3, 16)),
    ],
)
async def test_a_run_is_done_once_whatever_another_instance_does_between_two_of_its_requests(
    sim: Simulation, meddle: Meddling, places: range
) -> None:
    other = await sim.restart()
    for place in places:
        due = (sim.clock.now() + timedelta(seconds=130)).replace(microsecond=0)
        schedule = {"type": "once", "expression": due.isoformat()}
        job_id = await sim.create(f"job-{place}", {"id": "one"}, {"id": "two"}, schedule=schedule)
        execution_id = scheduled_id(job_id, due)
        await sim.be_down(seconds=15)
        action = partial(meddle, sim, other, execution_id)
        between = sim.wire.between(place, lambda kind: kind != "Jobs query", action)
        await sim.app.tick.run()
        await sim.be_down(seconds=(due - sim.clock.now()).total_seconds())
        await sim.run()
        assert between.hit is not None
        body = await sim.read(execution_id)
        where = f"before request {place}, {between.hit}"
        assert body["status"] == "success", where
        assert [sim.script.times(execution_id, step) for step in ("one", "two")] == [1, 1], where
        await sim.assert_nothing_left()
