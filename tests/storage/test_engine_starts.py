"""From an announcement to the first step: lost, early and stale starts, and overlapping runs."""

from datetime import timedelta

import pytest

from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.storage.tables import Upsert
from tests.storage.scripted import Hold
from tests.storage.simulation import AUTHOR, CALLER, START, Simulation
from tests.storage.wire import Mode

SOON = {"type": "once", "expression": "2026-11-23T02:02:30Z"}
SOON_ID = ExecutionId("job.20261123T020230Z")
EVERY_MINUTE = {"type": "cron", "expression": "* * * * *"}


async def announced(sim: Simulation, **schedule: str) -> None:
    """A job that is due at 02:03:00, and its start already sent."""
    await sim.create("job", {"id": "one"}, schedule={**SOON, **schedule})
    await sim.run(START.replace(minute=1, second=20))


@pytest.mark.parametrize("inline", [True, False], ids=["inline", "scheduled"])
async def test_a_lost_start_message_is_sent_again_by_upkeep(sim: Simulation, inline: bool) -> None:
    if inline:
        execution_id = await sim.execute("job", {"id": "one"})
    else:
        await announced(sim)
        execution_id = SOON_ID
    await sim.host.lose_messages()
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], sim.script.steps()) == ("success", ["one"])
    due = sim.script.ran[0].at - body["scheduled_time"]
    assert timedelta(seconds=60) < due <= timedelta(seconds=120)
    await sim.assert_nothing_left()


async def test_a_run_that_got_a_slot_and_lost_its_worker_is_started_by_upkeep(
    sim: Simulation,
) -> None:
    await announced(sim)
    sim.wire.before("Executions batch", sim.host.kill_workers)
    await sim.run()
    assert (await sim.read(SOON_ID))["status"] == "success"
    assert sim.script.steps() == ["one"]
    await sim.assert_nothing_left()


async def test_an_early_start_message_is_hidden_again(sim: Simulation) -> None:
    await announced(sim)
    due = START.replace(minute=2, second=30)
    await sim.host.show(early=True)
    assert await sim.deliver()
    assert sim.script.ran == []
    await sim.run()
    assert [one.at for one in sim.script.ran] == [due]
    await sim.assert_nothing_left()


async def test_a_start_that_is_due_after_its_job_was_rescheduled_is_dropped(
    sim: Simulation,
) -> None:
    await announced(sim)
    later = {**SOON, "expression": "2026-11-23T02:05:00Z"}
    await sim.app.jobs.patch(CALLER, AUTHOR, "job", {"schedule": later}, None)
    await sim.run()
    assert [one.execution_id for one in sim.script.ran] == ["job.20261123T020500Z"]
    await sim.assert_nothing_left()


async def test_a_start_that_was_due_before_the_change_runs_by_the_new_definition(
    sim: Simulation,
) -> None:
    await announced(sim)
    sim.clock.move_to(START.replace(minute=2, second=31))
    change = {"schedule": EVERY_MINUTE, "steps": [{"id": "other", "type": "scripted"}]}
    await sim.app.jobs.patch(CALLER, AUTHOR, "job", change, None)
    await sim.host.show()
    await sim.deliver()
    assert [(one.execution_id, one.step) for one in sim.script.ran] == [(SOON_ID, "other")]
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_run_of_a_job_paused_after_its_time_is_skipped_with_the_reason(
    sim: Simulation,
) -> None:
    await announced(sim)
    sim.clock.move_to(START.replace(minute=2, second=31))
    await sim.app.jobs.patch(CALLER, AUTHOR, "job", {"enabled": False}, None)
    await sim.run()
    body = await sim.read(SOON_ID)
    assert (body["status"], sim.script.ran) == ("skipped", [])
    assert "paused" in body["message"]
    assert await sim.listed() == [(SOON_ID, "skipped")]
    await sim.assert_nothing_left()


async def test_a_run_of_a_job_paused_before_its_time_is_skipped_with_the_reason(
    sim: Simulation,
) -> None:
    await announced(sim)
    await sim.app.jobs.patch(CALLER, AUTHOR, "job", {"enabled": False}, None)
    await sim.run()
    assert (sim.script.ran, await sim.listed()) == ([], [(SOON_ID, "skipped")])
    assert "paused before the run could start" in (await sim.read(SOON_ID))["message"]
    await sim.assert_nothing_left()


async def test_a_run_of_a_deleted_job_is_skipped_with_the_reason(sim: Simulation) -> None:
    await announced(sim)
    await sim.drop_job("job")
    await sim.run()
    body = await sim.read(SOON_ID)
    assert (body["status"], sim.script.ran) == ("skipped", [])
    assert "deleted" in body["message"]
    await sim.assert_nothing_left()


async def test_a_run_that_overlaps_is_skipped_by_default(patient: Simulation) -> None:
    hold = Hold()
    patient.script.acts["one"] = [hold]
    await patient.create("job", {"id": "one"}, schedule=EVERY_MINUTE)
    await patient.run(START.replace(minute=2, second=5))
    body = await patient.read("job.20261123T020200Z")
    reason = "another run of the job is unfinished: job.20261123T020100Z"
    assert (body["status"], body["message"]) == ("skipped", reason)
    assert await patient.slots() == ["job.20261123T020100Z"]
    hold.release()
    await patient.run(START.replace(minute=3, second=5))
    assert (await patient.read("job.20261123T020300Z"))["status"] == "success"
    await patient.drop_job("job")
    await patient.run()
    await patient.assert_nothing_left()


async def test_runs_that_may_overlap_run_beside_each_other(patient: Simulation) -> None:
    holds = [Hold(), Hold(), Hold()]
    patient.script.acts["one"] = [*holds]
    await patient.create("job", {"id": "one"}, schedule={**EVERY_MINUTE, "overlap": "allow"})
    await patient.run(START.replace(minute=3, second=5))
    assert patient.script.most_busy == 3
    await patient.drop_job("job")
    for hold in holds:
        hold.release()
    await patient.run()
    await patient.assert_nothing_left()


async def test_queued_runs_run_one_after_the_other_in_the_order_they_came(
    patient: Simulation,
) -> None:
    hold = Hold()
    patient.script.acts["one"] = [hold]
    await patient.create("job", {"id": "one"}, schedule={**EVERY_MINUTE, "overlap": "queue"})
    await patient.run(START.replace(minute=4, second=5))
    assert len(patient.script.ran) == 1
    await patient.drop_job("job")
    hold.release()
    await patient.run()
    ids = [one.execution_id for one in patient.script.ran]
    assert ids == [f"job.20261123T020{minute}00Z" for minute in (1, 2, 3, 4)]
    assert patient.script.most_busy == 1
    await patient.assert_nothing_left()


@pytest.mark.parametrize("overlap", ["skip", "queue"])
@pytest.mark.parametrize("known", [True, False], ids=["over", "unknown"])
async def test_an_active_mark_whose_run_is_over_or_unknown_is_passed(
    sim: Simulation, overlap: str, known: bool
) -> None:
    await sim.create("job", {"id": "one"}, schedule={**SOON, "overlap": overlap})
    dead = "job.20261101T000000Z"
    if known:
        dead = await sim.execute("job")
        await sim.deliver()
    await sim.storage.executions.commit("job", [Upsert("!current", {"execution_id": dead})])
    await sim.run()
    assert (await sim.read(SOON_ID))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_skipped_run_that_had_a_slot_is_listed_though_storage_failed(
    patient: Simulation,
) -> None:
    hold = Hold()
    patient.script.acts["one"] = [hold]
    await patient.create("job", {"id": "one"}, schedule=SOON)
    await patient.execute("job")
    fault = patient.wire.arm(1, Mode.REFUSED, lambda kind: kind == "Days batch")
    await patient.run(START.replace(minute=5))
    hold.release()
    await patient.run()
    assert fault.hit == "Days batch"
    assert (SOON_ID, "skipped") in await patient.listed()
    await patient.assert_nothing_left()


async def test_unreadable_messages_are_put_aside_and_kept(sim: Simulation) -> None:
    await sim.execute("job", {"id": "one"})
    queue = sim.app.dispatcher.queue_of("UTC")
    texts = ["no JSON", '{"v":1,"kind":"start"}']
    for text in texts:
        await sim.storage.queues.send(queue, text)
    await sim.run()
    await sim.run(minutes=6)
    assert sorted(await sim.poisoned()) == sorted(texts)
    await sim.assert_nothing_left()


async def test_a_message_of_an_unknown_run_is_dropped(sim: Simulation) -> None:
    queue = sim.app.dispatcher.queue_of("UTC")
    start = Message(kind=MessageKind.START, execution_id=SOON_ID)
    step = Message(kind=MessageKind.STEP, execution_id=SOON_ID, step="one", attempt=1)
    for message in (start, step):
        await sim.storage.queues.send(queue, message.encode())
    await sim.run()
    await sim.assert_nothing_left()
