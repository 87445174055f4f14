"""Admission: so many executions of a zone at once, the others parked in order; relayed zones."""

from datetime import timedelta

import pytest

from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.queue_names import poison_queue_name
from scheduler.errors import ConflictingWrite
from scheduler.execution.admission.admission import Admission
from scheduler.execution.admission.holdings import Holdings
from scheduler.storage.tables import Delete
from tests.storage.scripted import Hold, fails
from tests.storage.simulation import START, UNDECLARED, Simulated, Simulation
from tests.storage.wire import Mode

STEPS = ({"id": "one"}, {"id": "two"})


@pytest.fixture
async def narrow(new_simulation: Simulated) -> Simulation:
    """A scheduler that runs two executions of a zone at once."""
    return await new_simulation(max_concurrent_per_timezone=2, lease_seconds=86_400)


async def test_six_runs_of_a_zone_of_two_slots_run_two_at_a_time_in_the_order_they_came(
    narrow: Simulation,
) -> None:
    holds = [Hold() for _ in range(6)]
    narrow.script.acts["one"] = [*holds]
    ids = []
    for number in range(6):
        ids.append(await narrow.execute(f"job{number}", *STEPS))
        await narrow.deliver()
        narrow.clock.advance(1)
    assert sorted(await narrow.slots()) == ids[:2]
    for hold in holds:
        hold.release()
        while await narrow.deliver():
            pass
        assert len(await narrow.slots()) <= 2
    await narrow.run()
    assert narrow.script.most_busy <= 2
    began = [one.execution_id for one in narrow.script.ran if one.step == "one"]
    assert began == ids
    assert [(await narrow.read(one))["status"] for one in ids] == ["success"] * 6
    await narrow.assert_nothing_left()


async def test_six_runs_that_arrive_at_once_never_hold_more_than_two_slots(
    narrow: Simulation,
) -> None:
    for number in range(6):
        await narrow.execute(f"job{number}", *STEPS)
    while await narrow.deliver():
        assert len(await narrow.slots()) <= 2
    await narrow.run()
    assert narrow.script.most_busy <= 2
    assert sorted(narrow.script.steps()) == ["one"] * 6 + ["two"] * 6
    await narrow.assert_nothing_left()


async def test_a_parked_run_of_higher_priority_goes_first(narrow: Simulation) -> None:
    holds = [Hold(), Hold()]
    narrow.script.acts["one"] = [*holds]
    for number, priority in enumerate((0, 0, 0, 5, 9)):
        await narrow.execute(f"job{number}", {"id": "one"}, priority=priority)
        await narrow.deliver()
        narrow.clock.advance(1)
    holds[0].release()
    await narrow.run(minutes=1)
    holds[1].release()
    await narrow.run()
    began = [one.execution_id.partition(".")[0] for one in narrow.script.ran]
    assert began == ["job0", "job1", "job4", "job3", "job2"]
    await narrow.assert_nothing_left()


async def test_a_run_that_is_handed_a_slot_can_start_before_the_next_is_handed_one(
    narrow: Simulation,
) -> None:
    narrow.script.acts["one"] = [Hold(), Hold()]
    for number in range(4):
        await narrow.execute(f"job{number}", {"id": "one"})
        await narrow.deliver()
    queue, zones = narrow.app.dispatcher.queue_of("UTC"), narrow.storage.zones
    slots = [row.key async for row in zones.query(queue, "slot:", "slot;")]
    await zones.commit(queue, [Delete(slot, None) for slot in slots])
    holdings = Holdings(zones, narrow.clock)
    admission = Admission(zones, holdings, narrow.settings, narrow.clock)
    held = [await narrow.slots() async for _ in admission.hand_over(queue)]
    assert [len(one) for one in held] == [1, 2]


async def test_other_zones_do_not_wait_for_a_full_one(narrow: Simulation) -> None:
    holds = [Hold(), Hold()]
    narrow.script.acts["one"] = [*holds]
    for number in range(3):
        await narrow.execute(f"job{number}", {"id": "one"})
        await narrow.deliver()
    tokyo = await narrow.execute("tokyo", {"id": "two"}, timezone="Asia/Tokyo")
    await narrow.deliver()
    assert (await narrow.read(tokyo))["status"] == "success"
    for hold in holds:
        hold.release()
    await narrow.run()
    await narrow.assert_nothing_left()


async def test_a_run_that_sleeps_for_long_gives_its_slot_to_another_and_asks_again(
    narrow: Simulation,
) -> None:
    hold = Hold()
    narrow.script.acts["one"] = [fails(retry_after=100), hold]
    sleeper = await narrow.execute("sleeper", {"id": "one", "max_retries": 1})
    await narrow.deliver()
    assert await narrow.slots() == []
    others = [await narrow.execute(f"job{number}", {"id": "one"}) for number in range(2)]
    narrow.script.acts["one"] = [Hold(), Hold()]
    blockers = list(narrow.script.acts["one"])
    await narrow.deliver()
    assert sorted(await narrow.slots()) == sorted(others)
    await narrow.run(minutes=3)
    assert (await narrow.read(sleeper))["status"] == "retrying"
    for blocker in blockers:
        assert isinstance(blocker, Hold)
        blocker.release()
    await narrow.run()
    assert (await narrow.read(sleeper))["status"] == "success"
    assert narrow.script.times(sleeper, "one") == 2
    await narrow.assert_nothing_left()


async def test_a_run_that_sleeps_for_a_short_time_keeps_its_slot(narrow: Simulation) -> None:
    narrow.script.acts["one"] = [fails(retry_after=60)]
    sleeper = await narrow.execute("sleeper", {"id": "one", "max_retries": 1})
    await narrow.deliver()
    assert await narrow.slots() == [sleeper]
    await narrow.run()
    assert await narrow.slots() == []
    await narrow.assert_nothing_left()


async def test_a_parked_run_whose_time_is_up_is_settled_by_upkeep(narrow: Simulation) -> None:
    holds = [Hold(), Hold()]
    narrow.script.acts["one"] = [*holds]
    for number in range(2):
        await narrow.execute(f"job{number}", {"id": "one"})
    await narrow.deliver()
    late = await narrow.execute("late", {"id": "one"}, timeout_seconds=60)
    await narrow.run(minutes=3)
    assert (await narrow.read(late))["status"] == "timeout"
    for hold in holds:
        hold.release()
    await narrow.run()
    assert len(narrow.script.ran) == 2
    await narrow.assert_nothing_left()


async def test_a_run_that_was_granted_a_slot_by_a_worker_that_died_is_started_by_upkeep(
    narrow: Simulation,
) -> None:
    holds = [Hold(), Hold()]
    narrow.script.acts["one"] = [*holds]
    ids = []
    for number in range(3):
        ids.append(await narrow.execute(f"job{number}", {"id": "one"}))
        await narrow.deliver()
    narrow.wire.before("tz send", narrow.host.kill_workers)
    holds[0].release()
    holds[1].release()
    await narrow.run()
    assert (await narrow.read(ids[2]))["status"] == "success"
    assert len(narrow.script.ran) == 3
    await narrow.assert_nothing_left()


async def test_a_zone_without_a_trigger_is_served_by_the_relay_within_seconds(
    sim: Simulation,
) -> None:
    sim.script.acts["two"] = [fails(retry_after=10)]
    execution_id = await sim.execute(
        "job", {"id": "one"}, {"id": "two", "max_retries": 1}, timezone=UNDECLARED
    )
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    assert sim.script.steps() == ["one", "two", "two"]
    assert sim.script.ran[0].at - START <= timedelta(seconds=5)
    assert sim.script.ran[2].at - sim.script.ran[1].at <= timedelta(seconds=15)
    await sim.assert_nothing_left()


async def test_a_message_whose_nudge_was_lost_is_found_by_the_sweep_of_the_tick(
    sim: Simulation,
) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, timezone=UNDECLARED)
    await sim.host.lose_messages(of="relay")
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    assert sim.script.ran[0].at == START.replace(minute=1, second=0) + timedelta(0)
    await sim.assert_nothing_left()


async def test_many_messages_of_a_relayed_zone_are_all_served_by_one_nudge(
    sim: Simulation,
) -> None:
    ids = [
        await sim.execute(f"job{number}", {"id": "one"}, timezone=UNDECLARED) for number in range(4)
    ]
    await sim.host.lose_messages(of="relay")
    await sim.app.dispatcher.nudge(sim.app.dispatcher.queue_of(UNDECLARED))
    await sim.run()
    assert sorted(one.execution_id for one in sim.script.ran) == sorted(ids)
    assert max(one.at for one in sim.script.ran) - START < timedelta(seconds=30)
    await sim.assert_nothing_left()


async def test_a_relayed_message_whose_handling_fails_comes_back(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, timezone=UNDECLARED)
    fault = sim.wire.arm(1, Mode.BUSY, lambda kind: kind == "Zones get")
    await sim.run()
    assert fault.hit
    assert (await sim.read(execution_id))["status"] == "success"
    assert sim.script.ran[0].at - START <= timedelta(seconds=40)
    await sim.assert_nothing_left()


async def test_a_relayed_message_that_fails_too_often_goes_to_poison(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_dequeue_count=2)
    await sim.execute("job", {"id": "one"}, timezone=UNDECLARED)
    queue = sim.app.dispatcher.queue_of(UNDECLARED)
    for _ in range(2):
        await sim.storage.queues.receive(queue, hidden_seconds=1, limit=1)
        sim.clock.advance(1)
        await sim.host.show()
    await sim.app.relay.handle(Message(kind=MessageKind.NUDGE, queue=queue).encode())
    assert await sim.storage.queues.length(queue) == 0
    assert await sim.storage.queues.length(poison_queue_name(queue)) == 1
    await sim.run()
    assert sim.script.steps() == ["one"]
    assert await sim.storage.queues.length(poison_queue_name(queue)) == 0
    await sim.assert_nothing_left()


@pytest.mark.parametrize("queue", ["other-tz-utc", "x"])
async def test_a_nudge_for_a_queue_that_is_no_zones_is_dropped(sim: Simulation, queue: str) -> None:
    await sim.app.relay.handle(Message(kind=MessageKind.NUDGE, queue=queue).encode())
    await sim.app.relay.handle("no JSON")
    assert sim.wire.log == []


async def test_a_message_that_another_has_received_since_can_be_neither_hidden_nor_deleted(
    sim: Simulation,
) -> None:
    queues = sim.app.storage.queues
    queue = sim.app.dispatcher.queue_of("UTC")
    await queues.send(queue, "text")
    (first,) = await queues.receive(queue, hidden_seconds=5)
    sim.clock.advance(5)
    await sim.host.show()
    (second,) = await queues.receive(queue, hidden_seconds=5)
    assert (first.id, first.dequeue_count, second.dequeue_count) == (second.id, 1, 2)
    with pytest.raises(ConflictingWrite):
        await queues.hide(queue, first, seconds=5)
    with pytest.raises(ConflictingWrite):
        await queues.delete(queue, first)
    await queues.delete(queue, second)
    await queues.delete(queue, second)
