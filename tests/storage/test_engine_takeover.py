"""Workers that die, hang or come back: leases, fences, takeovers, duplicates."""

from datetime import timedelta

import pytest

from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.messages import Message, MessageKind
from tests.storage.scripted import Hold, dies, fails, succeeds
from tests.storage.simulation import Simulation

LEASE_AND_SKEW = timedelta(seconds=90)


async def test_a_step_whose_worker_died_is_taken_over_once_its_lease_is_over(
    sim: Simulation,
) -> None:
    sim.script.acts["two"] = [dies()]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"}, {"id": "three"})
    await sim.run()
    body = await sim.read(execution_id)
    assert body["status"] == "success"
    assert sim.script.steps() == ["one", "two", "two", "three"]
    history = body["steps"][1]["attempt_history"]
    assert [one["outcome"] for one in history] == ["lost", "success"]
    assert history[0]["error_code"] == "worker_lost"
    waited = sim.script.ran[2].at - sim.script.ran[1].at
    assert LEASE_AND_SKEW < waited <= LEASE_AND_SKEW + timedelta(seconds=60)
    await sim.assert_nothing_left()


async def test_the_first_step_of_a_scheduled_run_is_taken_over_too(sim: Simulation) -> None:
    sim.script.acts["one"] = [dies()]
    schedule = {"type": "once", "expression": "2026-11-23T02:02:30Z"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.run()
    assert (await sim.read("job.20261123T020230Z"))["status"] == "success"
    assert sim.script.steps() == ["one", "one"]
    await sim.assert_nothing_left()


async def test_an_interruption_does_not_count_as_a_retry(sim: Simulation) -> None:
    sim.script.acts["one"] = [dies(), fails(), succeeds()]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 1, "retry_delay": 1})
    await sim.run()
    body = await sim.read(execution_id)
    outcomes = [one["outcome"] for one in body["steps"][0]["attempt_history"]]
    assert (body["status"], outcomes) == ("success", ["lost", "failed", "success"])
    await sim.assert_nothing_left()


async def test_a_step_that_must_not_run_twice_fails_when_its_worker_died(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [dies()]
    execution_id = await sim.execute(
        "job", {"id": "one", "on_interrupt": "fail", "max_retries": 5}, {"id": "two"}
    )
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], body["steps"][0]["error_code"]) == ("failed", "step_interrupted")
    assert "on_interrupt" in body["steps"][0]["error_message"]
    assert sim.script.steps() == ["one"]
    await sim.assert_nothing_left()


async def test_a_step_that_kills_its_worker_each_time_is_given_up(sim: Simulation) -> None:
    sim.script.acts["one"] = [dies()] * 9
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], body["steps"][0]["error_code"]) == ("failed", "step_interrupted")
    assert sim.script.steps() == ["one"] * 4
    await sim.assert_nothing_left()


async def test_a_worker_that_comes_back_after_a_takeover_records_nothing(sim: Simulation) -> None:
    hold = Hold()
    sim.script.acts["one"] = [hold, succeeds("second")]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    await sim.run(minutes=4)
    before = await sim.read(execution_id)
    assert (before["status"], before["steps"][0]["output"]) == ("success", "second")
    hold.release()
    await sim.run()
    assert await sim.read(execution_id) == before
    assert sim.script.steps() == ["one", "one", "two"]
    await sim.assert_nothing_left()


@pytest.mark.parametrize("dequeue_count", [1, 2], ids=["duplicate", "redelivery"])
async def test_a_second_message_of_a_running_attempt_does_not_run_it_again(
    sim: Simulation, dequeue_count: int
) -> None:
    hold = Hold()
    sim.script.acts["two"] = [hold]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    while await sim.deliver():
        pass
    before = set(sim.wire.flying)
    await sim.app.engine.handle(
        sim.app.dispatcher.queue_of("UTC"), _step(execution_id, "two", 1), dequeue_count
    )
    copies = [sim.wire.flying[key].at for key in set(sim.wire.flying) - before]
    later = sim.clock.now() + LEASE_AND_SKEW + timedelta(seconds=5)
    assert copies == ([] if dequeue_count == 1 else [later])
    hold.release()
    await sim.run()
    assert sim.script.steps() == ["one", "two"]
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_the_copy_of_a_redelivered_message_takes_the_step_over(sim: Simulation) -> None:
    sim.script.acts["two"] = [dies()]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    while await sim.deliver():
        pass
    died = sim.clock.now()
    text = _step(execution_id, "two", 1)
    await sim.app.engine.handle(sim.app.dispatcher.queue_of("UTC"), text, 2)
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    assert sim.script.ran[-1].at == died + LEASE_AND_SKEW + timedelta(seconds=5)
    await sim.assert_nothing_left()


@pytest.mark.parametrize("attempt", [0, 1, 2, 3, None])
async def test_messages_of_other_attempts_do_not_start_a_step_that_is_done_or_sleeps(
    sim: Simulation, attempt: int | None
) -> None:
    sim.script.acts["two"] = [fails(retry_after=100)]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two", "max_retries": 1})
    while await sim.deliver():
        pass
    queue = sim.app.dispatcher.queue_of("UTC")
    for step in ("one", "two", "three"):
        await sim.app.engine.handle(queue, _step(execution_id, step, attempt), 1)
    assert sim.script.steps() == ["one", "two"]
    await sim.run()
    assert sim.script.steps() == ["one", "two", "two"]
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_lost_step_message_is_sent_again_by_upkeep(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    sim.wire.before("tz send", sim.host.kill_workers)
    await sim.run()
    assert sim.script.steps() == ["one", "two"]
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_lost_retry_message_is_sent_again_by_upkeep(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails(retry_after=30)]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 1})
    await sim.deliver()
    await sim.host.lose_messages()
    await sim.run()
    assert sim.script.steps() == ["one", "one"]
    waited = sim.script.ran[1].at - sim.script.ran[0].at
    assert timedelta(seconds=150) < waited <= timedelta(seconds=210)
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


@pytest.mark.parametrize("kind", ["Days batch", "Zones batch", "Zones query"])
async def test_the_duties_of_an_ended_run_are_done_though_its_worker_died_among_them(
    sim: Simulation, kind: str
) -> None:
    hold = Hold()
    sim.script.acts["one"] = [hold]
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.deliver()
    sim.wire.before(kind, sim.host.kill_workers)
    hold.release()
    await sim.run()
    assert sim.script.steps() == ["one"]
    assert await sim.listed() == [(execution_id, "success")]
    await sim.assert_nothing_left()


def _step(execution_id: str, step: str, attempt: int | None) -> str:
    message = Message(
        kind=MessageKind.STEP,
        execution_id=ExecutionId(execution_id),
        step=step,
        attempt=attempt,
    )
    return message.encode()
