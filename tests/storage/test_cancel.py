"""An execution is cancelled in each state that it can be in: it ends, and nothing of it is left."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from scheduler.errors import InvalidRequest, NotFound
from steps.contract import StepContext, StepResult
from tests.storage.scripted import Act, Ended, Hold, Script, dies, fails, succeeds
from tests.storage.simulation import AUTHOR, CALLER, Simulated, Simulation
from tests.storage.wire import Mode

LEASE_AND_SKEW = timedelta(seconds=90)


async def cancel(sim: Simulation, execution_id: str, reason: str = "") -> dict[str, Any]:
    """Cancels through the API; the reply's body."""
    body = {"reason": reason} if reason else {}
    return (await sim.app.executions.cancel(CALLER, AUTHOR, execution_id, body, 0)).body


def statuses(body: dict[str, Any]) -> list[str]:
    return [step["status"] for step in body["steps"]]


@pytest.fixture
async def quick(new_simulation: Simulated) -> Simulation:
    """A scheduler whose leases are renewed many times a second, and outlast every step."""
    return await new_simulation(
        lease_seconds=86_400, lease_renewal_seconds=0.02, cancel_grace_seconds=0.1
    )


async def workers_end(sim: Simulation) -> None:
    """Waits until no step runs any more."""
    async with asyncio.timeout(20):
        while sim.host.workers:
            await sim.deliver()
            await asyncio.sleep(0.01)


async def test_a_running_step_is_stopped_and_those_after_it_never_start(quick: Simulation) -> None:
    quick.script.acts["two"] = [Hold()]
    execution_id = await quick.execute("job", {"id": "one"}, {"id": "two"}, {"id": "three"})
    while await quick.deliver():
        pass
    told = await cancel(quick, execution_id, "wrong file")
    assert (told["status"], statuses(told)) == ("running", ["success", "running", "cancelled"])
    assert (told["cancel"]["by"], told["cancel"]["reason"]) == ("test", "wrong file")
    await workers_end(quick)
    body = await quick.read(execution_id)
    assert (body["status"], statuses(body)) == ("cancelled", ["success", "cancelled", "cancelled"])
    assert body["message"] == "cancelled by test: wrong file"
    (attempt,) = body["steps"][1]["attempt_history"]
    assert (attempt["outcome"], attempt["error_code"]) == ("cancelled", "step_cancelled")
    assert quick.script.steps() == ["one", "two"]
    assert await quick.listed() == [(execution_id, "cancelled")]
    await quick.run()
    await quick.assert_nothing_left()


async def test_branches_that_run_are_stopped_and_the_others_never_start(quick: Simulation) -> None:
    for name in ("a", "b"):
        quick.script.acts[name] = [Hold()]
    steps = [{"id": name, "depends_on": []} for name in "abc"]
    execution_id = await quick.execute(
        "job", *steps, {"id": "join", "depends_on": ["a", "b", "c"]}, max_parallel=2
    )
    while await quick.deliver():
        pass
    await cancel(quick, execution_id)
    await workers_end(quick)
    body = await quick.read(execution_id)
    assert (body["status"], statuses(body)) == ("cancelled", ["cancelled"] * 4)
    assert sorted(quick.script.steps()) == ["a", "b"]
    await quick.run()
    await quick.assert_nothing_left()


def ignores_cancel(gate: asyncio.Event) -> Act:
    """Does not stop when it is told to; `gate` ends it."""

    async def act(script: Script, context: StepContext) -> StepResult:
        script.held += 1
        script.changed.set()
        while not gate.is_set():
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
        script.held -= 1
        return StepResult("late")

    return act


async def test_of_a_step_that_does_not_stop_the_outcome_is_said_to_be_unknown(
    quick: Simulation,
) -> None:
    gate = asyncio.Event()
    quick.script.acts["one"] = [ignores_cancel(gate)]
    execution_id = await quick.execute("job", {"id": "one"})
    await quick.deliver()
    await cancel(quick, execution_id)
    async with asyncio.timeout(20):
        while (await quick.read(execution_id))["status"] != "cancelled":
            await asyncio.sleep(0.01)
    body = await quick.read(execution_id)
    assert "unknown" in body["steps"][0]["error_message"]
    gate.set()
    await workers_end(quick)
    await quick.run()
    assert await quick.read(execution_id) == body
    await quick.assert_nothing_left()


def succeeds_when_told_to_stop() -> Act:
    async def act(script: Script, context: StepContext) -> StepResult:
        script.held += 1
        script.changed.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            script.held -= 1
            script.changed.set()
        return StepResult("committed already")

    return act


@pytest.mark.parametrize(
    ("after", "status"), [((), "success"), (({"id": "two"},), "cancelled")], ids=["last", "first"]
)
async def test_what_a_step_did_before_it_could_be_stopped_is_told_as_it_is(
    quick: Simulation, after: tuple[dict[str, str], ...], status: str
) -> None:
    quick.script.acts["one"] = [succeeds_when_told_to_stop()]
    execution_id = await quick.execute("job", {"id": "one"}, *after)
    await quick.deliver()
    await cancel(quick, execution_id)
    await workers_end(quick)
    body = await quick.read(execution_id)
    assert (body["status"], body["steps"][0]["status"]) == (status, "success")
    assert body["steps"][0]["output"] == "committed already"
    await quick.run()
    await quick.assert_nothing_left()


async def test_a_step_learns_of_the_cancel_right_before_what_cannot_be_undone(
    patient: Simulation,
) -> None:
    done: list[str] = []
    hold = Hold()

    async def act(script: Script, context: StepContext) -> StepResult:
        await hold(script, context)
        await context.confirm()
        done.append("committed")
        return StepResult()

    patient.script.acts["one"] = [act]
    execution_id = await patient.execute("job", {"id": "one"})
    await patient.deliver()
    assert (await cancel(patient, execution_id))["status"] == "running"
    hold.release()
    await patient.run()
    body = await patient.read(execution_id)
    assert (body["status"], body["steps"][0]["error_code"]) == ("cancelled", "step_cancelled")
    assert done == []
    await patient.assert_nothing_left()


async def test_a_run_that_has_not_started_ends_at_once(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    body = await cancel(sim, execution_id)
    assert (body["status"], statuses(body)) == ("cancelled", ["cancelled"] * 2)
    assert (body["start_time"], body["end_time"]) == (None, sim.clock.now())
    await sim.run()
    assert sim.script.ran == []
    await sim.assert_nothing_left()


async def test_a_run_between_two_steps_ends_at_once(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    await sim.deliver()
    body = await cancel(sim, execution_id)
    assert (body["status"], statuses(body)) == ("cancelled", ["success", "cancelled"])
    await sim.run()
    assert sim.script.steps() == ["one"]
    await sim.assert_nothing_left()


@pytest.mark.parametrize("overlap", ["allow", "queue"], ids=["parked", "queued"])
async def test_a_run_that_waits_ends_at_once_and_lets_the_next_pass(
    new_simulation: Simulated, overlap: str
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1, lease_seconds=86_400)
    hold = Hold()
    sim.script.acts["one"] = [hold]
    schedule = {"type": "cron", "expression": "0 0 1 1 *", "overlap": overlap}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    first = await sim.execute("job")
    await sim.deliver()
    second, third = [await sim.execute("job") for _ in range(2)]
    while await sim.deliver():
        pass
    left = len(await sim.leftovers())
    assert (await cancel(sim, second))["status"] == "cancelled"
    assert len(await sim.leftovers()) == left - 2
    hold.release()
    await sim.drop_job("job")
    await sim.run()
    found = [(await sim.read(one))["status"] for one in (first, second, third)]
    assert found == ["success", "cancelled", "success"]
    assert [one.execution_id for one in sim.script.ran] == [first, third]
    await sim.assert_nothing_left()


async def test_a_run_that_the_control_word_holds_ends_at_once(sim: Simulation) -> None:
    schedule = {"type": "once", "expression": "2026-11-23T02:02:30Z"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.run(minutes=1)
    await sim.app.controls.write(CALLER, {"state": "paused"})
    await sim.run(minutes=3)
    body = await cancel(sim, "job.20261123T020230Z")
    assert body["status"] == "cancelled"
    await sim.app.controls.write(CALLER, {"state": "running"})
    await sim.run()
    assert sim.script.ran == []
    await sim.assert_nothing_left()


@pytest.mark.parametrize("seconds", [50, 300], ids=["hidden message", "wake row"])
async def test_a_run_that_sleeps_ends_at_once_and_leaves_no_wait(
    sim: Simulation, seconds: int
) -> None:
    sim.script.acts["one"] = [fails(retry_after=seconds)]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 3}, {"id": "two"})
    while await sim.deliver():
        pass
    body = await cancel(sim, execution_id)
    assert (body["status"], statuses(body)) == ("cancelled", ["cancelled", "cancelled"])
    assert await sim.leftovers() == []
    await sim.run()
    assert sim.script.steps() == ["one"]
    await sim.assert_nothing_left()


@pytest.mark.parametrize("announced", [False, True], ids=["only planned", "announced"])
async def test_a_coming_run_is_cancelled_before_its_time(sim: Simulation, announced: bool) -> None:
    schedule = {"type": "once", "expression": "2026-11-23T02:06:30Z"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.run(minutes=5 if announced else 1)
    body = await cancel(sim, "job.20261123T020630Z", "not today")
    assert (body["status"], body["message"]) == ("cancelled", "cancelled by test: not today")
    await sim.run()
    assert sim.script.ran == []
    assert (await sim.read("job.20261123T020630Z"))["status"] == "cancelled"
    assert await sim.listed() == [("job.20261123T020630Z", "cancelled")]
    await sim.assert_nothing_left()


async def test_a_run_that_is_none_cannot_be_cancelled(sim: Simulation) -> None:
    schedule = {"type": "cron", "expression": "0 0 * * *"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    for execution_id in ("job.20261124T000001Z", "other.20261124T000000Z", "nonsense"):
        with pytest.raises(NotFound):
            await cancel(sim, execution_id)
    await sim.drop_job("job")


async def test_a_dead_workers_step_is_closed_once_its_lease_is_over(sim: Simulation) -> None:
    sim.script.acts["one"] = [dies()]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    await sim.deliver()
    asked = sim.clock.now()
    assert (await cancel(sim, execution_id))["status"] == "running"
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], statuses(body)) == ("cancelled", ["cancelled", "cancelled"])
    assert "unknown" in body["steps"][0]["error_message"]
    assert body["end_time"] - asked <= LEASE_AND_SKEW + timedelta(seconds=60)
    assert sim.script.steps() == ["one"]
    await sim.assert_nothing_left()


async def test_with_no_live_lease_a_run_ends_at_once(sim: Simulation) -> None:
    sim.script.acts["one"] = [dies()]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    await sim.deliver()
    sim.clock.advance(LEASE_AND_SKEW.total_seconds() + 1)
    body = await cancel(sim, execution_id)
    assert (body["status"], statuses(body)) == ("cancelled", ["cancelled", "cancelled"])
    (attempt,) = body["steps"][0]["attempt_history"]
    assert (attempt["outcome"], attempt["error_code"]) == ("lost", "step_cancelled")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_worker_that_comes_back_after_a_cancel_records_nothing(sim: Simulation) -> None:
    hold = Hold()
    sim.script.acts["one"] = [hold]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"})
    await sim.deliver()
    sim.clock.advance(LEASE_AND_SKEW.total_seconds() + 1)
    before = await cancel(sim, execution_id)
    hold.release()
    await sim.run()
    assert await sim.read(execution_id) == before
    await sim.assert_nothing_left()


async def test_a_second_cancel_changes_nothing(quick: Simulation) -> None:
    quick.script.acts["one"] = [Hold()]
    execution_id = await quick.execute("job", {"id": "one"})
    await quick.deliver()
    first = await cancel(quick, execution_id, "first")
    assert (await cancel(quick, execution_id, "second"))["cancel"] == first["cancel"]
    await workers_end(quick)
    ended = await quick.read(execution_id)
    assert await cancel(quick, execution_id, "third") == ended
    assert ended["message"] == "cancelled by test: first"
    await quick.run()
    await quick.assert_nothing_left()


async def test_an_execution_that_has_ended_stays_and_a_warning_says_so(sim: Simulation) -> None:
    sim.script.acts["one"] = [succeeds("fine")]
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.run()
    before = await sim.read(execution_id)
    after = await cancel(sim, execution_id)
    (warning,) = after.pop("warnings")
    assert (warning["code"], after) == ("already_ended", before)
    await sim.assert_nothing_left()


async def test_a_failure_under_a_cancel_is_not_tried_again(patient: Simulation) -> None:
    hold = Hold()

    async def act(script: Script, context: StepContext) -> Ended:
        await hold(script, context)
        return await fails()(script, context)

    patient.script.acts["one"] = [act]
    execution_id = await patient.execute("job", {"id": "one", "max_retries": 5}, {"id": "two"})
    await patient.deliver()
    await cancel(patient, execution_id)
    hold.release()
    await patient.run()
    body = await patient.read(execution_id)
    assert (body["status"], statuses(body)) == ("cancelled", ["cancelled", "cancelled"])
    assert patient.script.steps() == ["one"]
    await patient.assert_nothing_left()


async def test_a_step_learns_of_a_cancel_that_passed_a_renewal_whose_reply_was_lost(
    patient: Simulation,
) -> None:
    hold = Hold()
    confirmed: list[int] = []

    async def act(script: Script, context: StepContext) -> StepResult:
        await hold(script, context)
        for number in range(2):
            await context.confirm()
            confirmed.append(number)
        return StepResult()

    patient.script.acts["one"] = [act]
    execution_id = await patient.execute("job", {"id": "one"})
    await patient.deliver()
    patient.wire.arm(1, Mode.LOST, lambda kind: kind == "Executions batch")
    patient.wire.before("Executions get", lambda: cancel(patient, execution_id))
    hold.release()
    await patient.run()
    body = await patient.read(execution_id)
    assert (body["status"], body["steps"][0]["error_code"]) == ("cancelled", "step_cancelled")
    assert confirmed == []
    await patient.assert_nothing_left()


async def test_deleting_a_job_cancels_its_runs_when_it_is_asked_to(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1)
    sim.script.acts["one"] = [fails(retry_after=600)]
    cron = {"type": "cron", "expression": "0 3 * * *", "overlap": "allow"}
    await sim.create("job", {"id": "one", "max_retries": 1}, schedule=cron)
    await sim.create("job-2", {"id": "two"})
    asleep = await sim.execute("job")
    await sim.deliver()
    waiting, other = await sim.execute("job"), await sim.execute("job-2")
    with pytest.raises(InvalidRequest):
        await sim.app.jobs.delete(CALLER, AUTHOR, "job", None, {"cancel": "yes"})
    told = await sim.app.jobs.delete(CALLER, AUTHOR, "job", None, {"cancel": "true"})
    assert told["cancelled"] == sorted([asleep, waiting])
    for execution_id in (asleep, waiting):
        body = await sim.read(execution_id)
        assert (body["status"], body["cancel"]["reason"]) == ("cancelled", "its job was deleted")
    await sim.run()
    assert (await sim.read(other))["status"] == "success"
    assert sim.script.steps() == ["one", "two"]
    await sim.assert_nothing_left()
