"""Messages that the host gave up: sent again while they are of use, dropped, or kept and told."""

import logging

import pytest

from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.queue_names import poison_queue_name, relay_queue_name
from scheduler.execution.upkeep.upkeep import THOROUGH_MINUTES
from tests.storage.simulation import UNDECLARED, Simulation

UNREADABLE = ["no JSON", '{"v":99,"kind":"start"}', '{"v":1,"kind":"start"}', "\x00\ufffd"]


def utc_poison(sim: Simulation) -> str:
    return poison_queue_name(sim.app.dispatcher.queue_of("UTC"))


def relay_poison(sim: Simulation) -> str:
    return poison_queue_name(relay_queue_name(sim.settings.name))


async def give_up_all(sim: Simulation) -> None:
    """Moves every visible message to its poison queue, as the host does after ten deliveries."""
    for queue, message in await sim.host.take(sim.app):
        await sim.storage.queues.send(poison_queue_name(queue), message.text)
        await sim.storage.queues.delete(queue, message)


@pytest.mark.parametrize("timezone", ["UTC", UNDECLARED])
async def test_the_message_of_an_unfinished_run_is_sent_again(
    sim: Simulation, timezone: str
) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"}, timezone=timezone)
    await give_up_all(sim)
    await sim.run()
    body = await sim.read(execution_id)
    assert body["status"] == "success"
    assert [len(step["attempt_history"]) for step in body["steps"]] == [1, 1]
    await sim.assert_nothing_left()


async def test_the_message_of_a_step_is_sent_again(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    await sim.deliver()
    await give_up_all(sim)
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    assert sim.script.steps() == ["one", "two"]
    await sim.assert_nothing_left()


async def test_the_message_of_a_finished_run_is_dropped(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.run()
    start = Message(kind=MessageKind.START, execution_id=sim.script.ran[0].execution_id)  # type: ignore[arg-type]
    await sim.storage.queues.send(utc_poison(sim), start.encode())
    await sim.run(minutes=THOROUGH_MINUTES + 1)
    assert await sim.storage.queues.length(utc_poison(sim)) == 0
    assert sim.script.times(execution_id, "one") == 1


async def test_what_cannot_be_read_is_kept_told_once_and_makes_the_status_degraded(
    sim: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    await sim.execute("job", {"id": "one"})
    await sim.run()
    for text in UNREADABLE:
        await sim.storage.queues.send(utc_poison(sim), text)
    with caplog.at_level(logging.ERROR, "scheduler.execution.upkeep.poison"):
        await sim.run(minutes=3 * THOROUGH_MINUTES)
    told = [one for one in caplog.records if getattr(one, "action", None) == "poison_kept"]
    assert len(told) == len(UNREADABLE)
    assert sorted(await sim.poisoned()) == sorted(UNREADABLE)
    await sim.app.run_tick()
    status = await sim.app.status.status()
    assert (status["status"], status["poison_messages"]) == ("degraded", len(UNREADABLE))
    (check,) = (one for one in status["checks"] if one["name"] == "poison")
    assert check["detail"].startswith("4 messages were put aside in queues named …-poison")


async def test_unreadable_messages_do_not_hold_up_those_behind_them(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"})
    for number in range(40):
        await sim.storage.queues.send(utc_poison(sim), f"no JSON {number}")
    await give_up_all(sim)
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    assert await sim.storage.queues.length(utc_poison(sim)) == 40


async def test_a_nudge_that_was_given_up_is_repeated_and_one_for_no_zone_is_dropped(
    sim: Simulation,
) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, timezone=UNDECLARED)
    await sim.host.lose_messages("relay")
    queue = sim.app.dispatcher.queue_of(UNDECLARED)
    for name in (queue, "other-tz-utc"):
        nudge = Message(kind=MessageKind.NUDGE, queue=name)
        await sim.storage.queues.send(relay_poison(sim), nudge.encode())
    await sim.app.run_upkeep()
    assert await sim.storage.queues.length(relay_poison(sim)) == 0
    while await sim.deliver():
        pass
    sim.clock.advance(3)
    while await sim.deliver():
        pass
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_message_is_removed_from_poison_only_after_it_was_sent_again(
    sim: Simulation,
) -> None:
    execution_id = await sim.execute("job", {"id": "one"})
    await give_up_all(sim)
    sim.wire.before("tz send", _dies)
    with pytest.raises(_PowerCut):
        await sim.app.upkeep.run()
    assert await sim.storage.queues.length(utc_poison(sim)) == 1
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.run(minutes=THOROUGH_MINUTES + 6)
    assert await sim.storage.queues.length(utc_poison(sim)) == 0
    assert sim.script.steps() == ["one"]


class _PowerCut(BaseException):
    """The instance is gone."""


async def _dies() -> None:
    raise _PowerCut
