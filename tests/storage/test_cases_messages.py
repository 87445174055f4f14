"""Messages that come twice, late, long after, from older and newer versions: done once each."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import pytest
from azure.storage.queue.aio import QueueServiceClient

from scheduler.dispatch.ids import scheduled_id
from tests.storage.scripted import Hold, fails
from tests.storage.simulation import Simulation
from tests.storage.wire import Mode

FORK: tuple[dict[str, Any], ...] = (
    {"id": "left", "depends_on": []},
    {"id": "right", "depends_on": [], "max_retries": 1, "retry_delay": 30},
    {"id": "join", "depends_on": ["left", "right"]},
    {"id": "end", "depends_on": ["join"]},
)
LONG = timedelta(days=36_500)


async def every_message_again(sim: Simulation, seconds: float) -> list[tuple[str, str]]:
    """Handles all messages, and of each a copy that comes so much later; returns what there was."""
    seen: dict[str, str] = {}
    while sim.wire.flying:
        for queue, message in await sim.host.take(sim.app):
            if message.text not in seen:
                seen[message.text] = queue
                await sim.storage.queues.send(queue, message.text, delay_seconds=seconds)
            await sim.host.hand_over(sim.app, queue, message)
        coming = [one.at for one in sim.wire.flying.values() if one.at > sim.clock.now()]
        if coming and all(one.hidden for one in sim.wire.flying.values()):
            sim.clock.move_to(min(coming))
    return [(queue, text) for text, queue in seen.items()]


def outcomes(body: dict[str, Any]) -> dict[str, list[str]]:
    """Each step's attempts, by how they ended."""
    return {
        step["step_id"]: [one["outcome"] for one in step["attempt_history"]]
        for step in body["steps"]
    }


@pytest.mark.parametrize("seconds", [0, 3, 45])
async def test_when_every_message_comes_twice_each_step_is_done_and_recorded_once(
    sim: Simulation, seconds: float
) -> None:
    sim.script.acts["right"] = [fails()]
    execution_id = await sim.execute("job", *FORK)
    handled = await every_message_again(sim, seconds)
    assert len(handled) >= 4
    body = await sim.read(execution_id)
    assert body["status"] == "success"
    once = {step: ["success"] for step in ("left", "join", "end")}
    assert outcomes(body) == {**once, "right": ["failed", "success"]}
    assert sorted(sim.script.steps()) == ["end", "join", "left", "right", "right"]
    assert await sim.listed() == [(execution_id, "success")]
    await sim.assert_nothing_left()


@pytest.mark.parametrize("deliveries", [1, 5], ids=["new copies", "redeliveries"])
async def test_every_message_of_a_run_that_comes_again_after_its_end_changes_nothing(
    sim: Simulation, deliveries: int
) -> None:
    sim.script.acts["right"] = [fails()]
    schedule = {"type": "once", "expression": "2026-11-23T02:01:50Z"}
    await sim.create("job", *FORK, schedule=schedule)
    await sim.app.run_tick()
    handled = await every_message_again(sim, 0)
    execution_id = "job.20261123T020150Z"
    before, ran = await sim.read(execution_id), len(sim.script.ran)
    assert before["status"] == "success"
    sim.clock.advance(600)
    for queue, text in handled:
        await sim.app.engine.handle(queue, text, deliveries)
    assert await sim.read(execution_id) == before
    assert len(sim.script.ran) == ran
    assert await sim.listed() == [(execution_id, "success")]
    await sim.run()
    await sim.assert_nothing_left()


@pytest.mark.parametrize("step", [0, 1], ids=["start", "next step"])
@pytest.mark.parametrize("scheduled", [False, True], ids=["by hand", "by schedule"])
async def test_of_two_workers_with_the_same_message_at_the_same_instant_one_runs_the_step(
    sim: Simulation, step: int, scheduled: bool
) -> None:
    steps = ({"id": "one"}, {"id": "two"})
    if scheduled:
        due = (sim.clock.now() + timedelta(seconds=100)).replace(microsecond=0)
        at = {"type": "once", "expression": due.isoformat()}
        await sim.create("job", *steps, schedule=at)
        execution_id: str = scheduled_id("job", due)
        await sim.app.run_tick()
        await sim.be_down(seconds=100)
    else:
        execution_id = await sim.execute("job", *steps)
    other = sim.new_app()
    for _ in range(step):
        await sim.deliver()
    ((queue, message),) = await sim.host.take(sim.app)
    claim = sim.wire.arm(1, Mode.HELD, lambda kind: kind == "Executions batch")
    slow = asyncio.create_task(sim.app.engine.handle(queue, message.text, 1))
    await claim.reached.wait()
    sim.wire.fault = None
    await other.engine.handle(queue, message.text, 1)
    assert sim.script.times(execution_id, steps[step]["id"]) == 1
    claim.released.set()
    async with asyncio.timeout(5):
        await slow
    await sim.storage.queues.delete(queue, message)
    await sim.run()
    assert sim.script.steps() == ["one", "two"]
    body = await sim.read(execution_id)
    assert outcomes(body) == {"one": ["success"], "two": ["success"]}
    assert sim.clock.now() - body["end_time"] < timedelta(seconds=1)
    await sim.assert_nothing_left()


async def test_messages_of_an_app_before_a_deploy_are_understood_after_it(sim: Simulation) -> None:
    hold = Hold()
    sim.script.acts["two"] = [hold]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"}, {"id": "three"})
    await sim.host.lose_messages()
    queue = sim.app.dispatcher.queue_of("UTC")
    plain = {"v": 1, "execution_id": execution_id}
    await sim.app.engine.handle(queue, json.dumps({**plain, "kind": "start"}), 1)
    await sim.host.lose_messages()
    two = {**plain, "kind": "step", "step": "two", "attempt": 1}
    await sim.storage.queues.send(queue, json.dumps(two))
    await sim.deliver()
    assert (sim.script.steps(), sim.script.busy) == (["one", "two"], 1)
    hold.release()
    await sim.run()
    assert sim.script.steps() == ["one", "two", "three"]
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_message_of_a_later_version_is_kept_and_its_run_goes_on_by_a_new_one(
    sim: Simulation,
) -> None:
    execution_id = await sim.execute("job", {"id": "one"})
    ((queue, message),) = await sim.host.take(sim.app)
    await sim.storage.queues.delete(queue, message)
    later = json.dumps({**json.loads(message.text), "v": 2})
    await sim.storage.queues.send(queue, later)
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    assert sim.script.steps() == ["one"]
    assert await sim.poisoned() == [later]
    await sim.assert_nothing_left()


async def test_no_message_ever_expires(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails(retry_after=100)]
    await sim.execute("job", {"id": "one", "max_retries": 1})
    await sim.deliver()
    await sim.execute("other", {"id": "one"}, timezone="Asia/Kathmandu")
    schedule = {"type": "once", "expression": "2026-11-23T02:02:00Z"}
    await sim.create("soon", {"id": "one"}, schedule=schedule)
    await sim.app.run_tick()
    await sim.app.engine.handle(sim.app.dispatcher.queue_of("UTC"), "no message", 1)
    await sim.host.show(early=True)
    connection_string = sim.settings.storage_connection_string
    assert connection_string is not None
    service = QueueServiceClient.from_connection_string(connection_string)
    expires = []
    async with service:
        async for queue in service.list_queues(name_starts_with=f"{sim.settings.name}-"):
            found = await service.get_queue_client(queue.name).peek_messages(32)
            expires += [(queue.name, message.expires_on) for message in found]
    assert len({name for name, _ in expires}) >= 4, expires
    now = sim.clock.now()
    assert all(at is not None and at - now > LONG for _, at in expires), expires
