"""A step that waits for outside work: it holds no worker, keeps its state, and is told to end."""

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.messages import Message, MessageKind
from steps.contract import MAX_STATE_BYTES, StepContext, StepResult
from tests.storage.scripted import Ended, Hold, Script, dies, fails, succeeds, waits
from tests.storage.simulation import AUTHOR, CALLER, START, Simulated, Simulation
from tests.storage.wire import Mode

WAIT: dict[str, Any] = {"id": "wait", "timeout": 3_600}


async def cancel(sim: Simulation, execution_id: str) -> dict[str, Any]:
    """Cancels through the API; the reply's body."""
    return (await sim.app.executions.cancel(CALLER, AUTHOR, execution_id, {}, 0)).body


def looks(sim: Simulation) -> list[tuple[int, Any]]:
    """When the step began and was looked at, in seconds, and with which state."""
    return [(round((one.at - START).total_seconds()), one.state) for one in sim.script.ran]


def outcomes(step: dict[str, Any]) -> list[str]:
    return [one["outcome"] for one in step["attempt_history"]]


async def test_it_is_looked_at_again_with_what_it_left_until_its_work_is_done(
    sim: Simulation,
) -> None:
    sim.script.acts["wait"] = [waits(20, {"id": 7}), waits(30, [1]), succeeds({"rows": 3})]
    execution_id = await sim.execute("job", WAIT, {"id": "next"})
    await sim.deliver()
    body = await sim.read(execution_id)
    assert (body["status"], body["steps"][0]["status"]) == ("running", "waiting")
    assert body["steps"][0]["next_attempt_at"] == START + timedelta(seconds=20)
    assert sim.host.workers == set()
    await sim.run()
    body = await sim.read(execution_id)
    assert looks(sim) == [(0, None), (20, {"id": 7}), (50, [1]), (50, None)]
    assert (body["status"], body["steps"][0]["output"]) == ("success", {"rows": 3})
    assert (body["steps"][0]["attempts"], outcomes(body["steps"][0])) == (1, ["success"])
    assert body["steps"][0]["duration_seconds"] == 50
    await sim.assert_nothing_left()


async def test_in_a_long_wait_its_slot_serves_others_and_its_turn_comes_again(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1)
    sim.script.acts["wait"] = [waits(600)]
    execution_id = await sim.execute("job", WAIT, {"id": "next"})
    await sim.deliver()
    assert await sim.slots() == []
    other = await sim.execute("other", {"id": "one"})
    await sim.run(minutes=0.2)
    assert (await sim.read(other))["status"] == "success"
    assert (await sim.read(execution_id))["status"] == "running"
    await sim.run()
    assert [at for at, _ in looks(sim)] == [0, 0, 600, 600]
    assert (await sim.read(execution_id))["duration_seconds"] == 600
    await sim.assert_nothing_left()


async def test_its_timeout_counts_over_all_looks_and_its_work_is_ended(sim: Simulation) -> None:
    sim.script.acts["wait"] = [waits(40, number) for number in range(9)]
    execution_id = await sim.execute("job", {"id": "wait", "timeout": 100}, {"id": "next"})
    await sim.run()
    body = await sim.read(execution_id)
    assert [at for at, _ in looks(sim)] == [0, 40, 80]
    assert [(one.at - START, one.state) for one in sim.script.stopped] == [
        (timedelta(seconds=100), 2)
    ]
    assert (body["status"], body["steps"][0]["status"]) == ("failed", "timeout")
    assert body["steps"][0]["error_message"] == "the step was stopped after its timeout of 100 s"
    assert body["steps"][1]["status"] == "skipped"
    await sim.assert_nothing_left()


async def test_a_retry_after_a_wait_begins_anew(sim: Simulation) -> None:
    sim.script.acts["wait"] = [waits(40, "old"), waits(70, "old"), waits(20, "new"), succeeds()]
    execution_id = await sim.execute(
        "job", {"id": "wait", "timeout": 100, "max_retries": 1, "retry_delay": 10}
    )
    await sim.run()
    body = await sim.read(execution_id)
    assert [state for _, state in looks(sim)] == [None, "old", None, "new"]
    assert outcomes(body["steps"][0]) == ["timeout", "success"]
    assert [one.attempt for one in sim.script.ran] == [1, 1, 2, 2]
    await sim.assert_nothing_left()


async def test_it_is_ended_when_the_time_of_its_job_is_over(sim: Simulation) -> None:
    sim.script.acts["wait"] = [waits(600, "state")]
    execution_id = await sim.execute("job", WAIT, {"id": "next"}, timeout_seconds=100)
    await sim.run()
    body = await sim.read(execution_id)
    assert [one.state for one in sim.script.stopped] == ["state"]
    assert sim.script.stopped[0].at == START + timedelta(seconds=100)
    assert (body["status"], body["steps"][0]["status"]) == ("timeout", "timeout")
    assert body["steps"][1]["status"] == "skipped"
    await sim.assert_nothing_left()


@pytest.mark.parametrize("seconds", [30, 600], ids=["with its slot", "asleep"])
async def test_a_cancel_calls_it_up_to_end_its_work_at_once(sim: Simulation, seconds: int) -> None:
    sim.script.acts["wait"] = [waits(seconds, "state")]
    execution_id = await sim.execute("job", WAIT, {"id": "next"})
    await sim.deliver()
    sim.clock.advance(5)
    await cancel(sim, execution_id)
    await sim.deliver()
    body = await sim.read(execution_id)
    assert [one.state for one in sim.script.stopped] == ["state"]
    assert (body["status"], [step["status"] for step in body["steps"]]) == (
        "cancelled",
        ["cancelled", "cancelled"],
    )
    assert outcomes(body["steps"][0]) == ["cancelled"]
    await sim.run()
    assert len(sim.script.ran) == len(sim.script.stopped) == 1
    await sim.assert_nothing_left()


async def test_a_cancel_in_a_full_zone_does_not_wait_for_a_slot(new_simulation: Simulated) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1)
    sim.script.acts["wait"], sim.script.acts["other"] = [waits(600)], [waits(30)]
    execution_id = await sim.execute("job", WAIT)
    await sim.deliver()
    await sim.execute("full", {"id": "other"})
    await sim.deliver()
    await cancel(sim, execution_id)
    await sim.deliver()
    assert (await sim.read(execution_id))["status"] == "cancelled"
    await sim.run()
    await sim.assert_nothing_left()


async def test_what_it_could_not_end_is_told(sim: Simulation) -> None:
    sim.script.acts["wait"] = [waits(600)]
    sim.script.stops["wait"] = [fails("pipeline_gone")]
    execution_id = await sim.execute("job", WAIT)
    await sim.deliver()
    await cancel(sim, execution_id)
    await sim.run()
    step = (await sim.read(execution_id))["steps"][0]
    assert (step["status"], step["error_code"]) == ("cancelled", "step_cancelled")
    assert step["error_message"].endswith("was cancelled; pipeline_gone by the script")
    await sim.assert_nothing_left()


async def test_when_a_worker_dies_over_a_look_the_same_attempt_goes_on(sim: Simulation) -> None:
    sim.script.acts["wait"] = [waits(20, "state"), dies(), waits(20, "later"), succeeds()]
    execution_id = await sim.execute("job", WAIT)
    await sim.run()
    body = await sim.read(execution_id)
    assert [state for _, state in looks(sim)] == [None, "state", "state", "later"]
    assert {one.attempt for one in sim.script.ran} == {1}
    assert (body["status"], outcomes(body["steps"][0])) == ("success", ["success"])
    await sim.assert_nothing_left()


async def test_when_a_worker_dies_before_the_first_wait_another_attempt_begins(
    sim: Simulation,
) -> None:
    sim.script.acts["wait"] = [dies(), waits(20, "state"), succeeds()]
    execution_id = await sim.execute("job", WAIT)
    await sim.run()
    body = await sim.read(execution_id)
    assert [(one.attempt, one.state) for one in sim.script.ran] == [
        (1, None),
        (2, None),
        (2, "state"),
    ]
    assert outcomes(body["steps"][0]) == ["lost", "success"]
    await sim.assert_nothing_left()


async def test_when_a_worker_dies_while_it_ends_the_work_another_ends_it(sim: Simulation) -> None:
    sim.script.acts["wait"], sim.script.stops["wait"] = [waits(600, "state")], [dies()]
    execution_id = await sim.execute("job", WAIT)
    await sim.deliver()
    await cancel(sim, execution_id)
    await sim.run()
    body = await sim.read(execution_id)
    assert [one.state for one in sim.script.stopped] == ["state", "state"]
    assert (body["status"], body["steps"][0]["status"]) == ("cancelled", "cancelled")
    await sim.assert_nothing_left()


async def test_a_wait_that_is_cancelled_after_its_worker_died_is_ended_by_another(
    sim: Simulation,
) -> None:
    sim.script.acts["wait"] = [waits(20, "state"), dies()]
    execution_id = await sim.execute("job", WAIT)
    await sim.deliver()
    await sim.be_down(seconds=20)
    await sim.deliver()
    await sim.be_down(seconds=91)
    await cancel(sim, execution_id)
    await sim.run()
    body = await sim.read(execution_id)
    assert [one.state for one in sim.script.stopped] == ["state"]
    assert body["status"] == "cancelled"
    await sim.assert_nothing_left()


@pytest.mark.parametrize("state", [object(), "x" * MAX_STATE_BYTES], ids=["no JSON", "too large"])
async def test_a_state_that_cannot_be_kept_is_a_fault_of_the_step_type(
    sim: Simulation, state: object
) -> None:
    sim.script.acts["wait"] = [waits(20, state)]
    execution_id = await sim.execute("job", WAIT)
    await sim.run()
    step = (await sim.read(execution_id))["steps"][0]
    assert (step["status"], step["error_code"]) == ("failed", "step_crashed")
    assert "Pending" in step["error_message"]
    await sim.assert_nothing_left()


async def test_copies_of_a_look_are_dropped(sim: Simulation) -> None:
    sim.script.acts["wait"] = [waits(20), waits(20), succeeds()]
    execution_id = ExecutionId(await sim.execute("job", WAIT))
    queue = sim.app.dispatcher.queue_of("UTC")
    await sim.deliver()
    for look in (1, 2):
        await sim.be_down(seconds=20)
        copy = Message(
            kind=MessageKind.STEP, execution_id=execution_id, step="wait", attempt=1, look=look
        )
        await sim.deliver()
        await sim.app.engine.handle(queue, copy.encode(), 1)
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    assert len(sim.script.ran) == 3
    await sim.assert_nothing_left()


async def test_a_failure_at_a_look_is_the_attempts(sim: Simulation) -> None:
    sim.script.acts["wait"] = [waits(20), fails("pipeline_failed")]
    execution_id = await sim.execute("job", WAIT)
    await sim.run()
    body = await sim.read(execution_id)
    assert body["message"] == "step wait failed: pipeline_failed by the script"
    await sim.assert_nothing_left()


@pytest.mark.parametrize("on_interrupt", ["retry", "fail"])
async def test_when_the_worker_of_a_look_dies_and_the_jobs_time_is_over_its_work_is_ended(
    sim: Simulation, on_interrupt: str
) -> None:
    sim.script.acts["wait"] = [waits(30, "state"), dies()]
    wait = {**WAIT, "on_interrupt": on_interrupt}
    execution_id = await sim.execute("job", wait, timeout_seconds=100)
    await sim.run()
    assert [one.state for one in sim.script.stopped] == ["state"]
    assert (await sim.read(execution_id))["status"] == "timeout"
    await sim.assert_nothing_left()


async def test_a_worker_that_dies_over_the_end_at_the_jobs_time_is_replaced(
    sim: Simulation,
) -> None:
    sim.script.acts["wait"], sim.script.stops["wait"] = [waits(600, "state")], [dies()]
    execution_id = await sim.execute("job", WAIT, timeout_seconds=100)
    await sim.run()
    assert [one.state for one in sim.script.stopped] == ["state"] * 2
    assert (await sim.read(execution_id))["status"] == "timeout"
    await sim.assert_nothing_left()


@pytest.mark.parametrize("end", ["cancel", "job", "step"])
async def test_parked_in_a_full_zone_its_work_is_ended_all_the_same(
    new_simulation: Simulated, end: str
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1, lease_seconds=86_400)
    sim.script.acts["wait"], sim.script.acts["other"] = [waits(600, "state")], [hold := Hold()]
    wait = {**WAIT, "timeout": 1_000 if end == "step" else 3_600}
    limit = 1_000 if end == "job" else 7_200
    execution_id = await sim.execute("job", wait, timeout_seconds=limit)
    await sim.deliver()
    await sim.execute("full", {"id": "other", "timeout": 6_900}, timeout_seconds=7_200)
    await sim.deliver()
    await sim.run(minutes=11)
    assert sim.script.stopped == []
    if end == "cancel":
        await cancel(sim, execution_id)
    await sim.run(minutes=10)
    assert [one.state for one in sim.script.stopped] == ["state"]
    ends = {"cancel": "cancelled", "job": "timeout", "step": "failed"}
    assert (await sim.read(execution_id))["status"] == ends[end]
    hold.release()
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_sibling_whose_message_was_lost_does_not_wait_with_it(sim: Simulation) -> None:
    sim.script.acts["a"] = [waits(36_000, "state"), succeeds()]
    sim.wire.arm(2, Mode.REFUSED, lambda kind: kind == "tz send")
    steps: list[dict[str, Any]] = [
        {"id": "a", "timeout": 80_000, "depends_on": []},
        {"id": "b", "depends_on": []},
    ]
    await sim.execute("job", *steps, timeout_seconds=90_000)
    await sim.run(minutes=10)
    assert "b" in sim.script.steps()


@pytest.mark.parametrize("seconds", [float("nan"), "soon", None])
async def test_a_wait_that_is_no_number_is_a_fault_of_the_step_type(
    sim: Simulation, seconds: object
) -> None:
    sim.script.acts["wait"] = [waits(cast("float", seconds))]
    execution_id = await sim.execute("job", WAIT)
    await sim.run()
    step = (await sim.read(execution_id))["steps"][0]
    assert (step["status"], step["error_code"]) == ("failed", "step_crashed")
    await sim.assert_nothing_left()


@pytest.mark.parametrize("seconds", [10**400, float("inf"), -5])
async def test_a_wait_is_never_longer_than_its_timeout_nor_shorter_than_a_second(
    sim: Simulation, seconds: object
) -> None:
    sim.script.acts["wait"] = [waits(cast("float", seconds), "state"), succeeds()]
    execution_id = await sim.execute("job", {"id": "wait", "timeout": 50})
    await sim.run()
    step = (await sim.read(execution_id))["steps"][0]
    assert step["duration_seconds"] == (1 if seconds == -5 else 50)
    assert step["status"] == ("success" if seconds == -5 else "timeout")
    await sim.assert_nothing_left()


async def test_a_look_that_does_not_stop_is_left_behind_and_its_work_is_ended(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(
        lease_seconds=86_400, lease_renewal_seconds=0.02, cancel_grace_seconds=0.05
    )
    over = asyncio.Event()

    async def deaf(script: Script, context: StepContext) -> Ended:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        return StepResult()

    sim.script.acts["wait"] = [waits(20, "state"), deaf]
    execution_id = await sim.execute("job", WAIT)
    await sim.deliver()
    await sim.be_down(seconds=20)
    looking = asyncio.create_task(sim.deliver())
    while len(sim.script.ran) < 2:
        await asyncio.sleep(0.01)
    await cancel(sim, execution_id)
    await looking
    assert [one.state for one in sim.script.stopped] == ["state"]
    over.set()
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "cancelled"
    await sim.assert_nothing_left()


async def test_without_its_definition_it_ends_when_the_jobs_time_is_over(sim: Simulation) -> None:
    sim.script.acts["wait"] = [waits(600)]
    execution_id = await sim.execute("job", WAIT, timeout_seconds=100)
    await sim.deliver()
    for name in await sim.storage.definitions.names("job/"):
        await sim.storage.definitions.delete(name)
    await sim.restart()
    await sim.run()
    sim.host.crashes.clear()
    body = await sim.read(execution_id)
    assert (body["status"], body["steps"][0]["status"]) == ("timeout", "timeout")
    assert "was not ended" in body["steps"][0]["error_message"]
    await sim.assert_nothing_left()
