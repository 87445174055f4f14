"""What a step may do, return or raise, and what storage may do meanwhile, without harm to a run."""

import asyncio
import math
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.messages import Message, MessageKind
from steps.contract import StepContext, StepFailed, StepResult
from tests.storage.outage import black_out
from tests.storage.scripted import Act, Hold, Script, fails, succeeds
from tests.storage.simulation import START, Simulated, Simulation
from tests.storage.wire import Mode


def returns(result: Any) -> Act:  # noqa: ANN401
    """Returns whatever this is."""

    async def act(script: Script, context: StepContext) -> StepResult:
        done: StepResult = result
        return done

    return act


def raises(error: BaseException) -> Act:
    """Fails with this very error."""

    async def act(script: Script, context: StepContext) -> StepResult:
        raise error

    return act


async def confirms(script: Script, context: StepContext) -> StepResult:
    """Renews its lease once, by hand."""
    await context.confirm()
    return StepResult()


async def finished(sim: Simulation, act: Act, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """Runs an inline job of one step to its end; the step as the API shows it."""
    sim.script.acts["one"].insert(0, act)
    execution_id = await sim.execute("job", {"id": "one", **fields})
    await sim.run()
    await sim.assert_nothing_left()
    step: dict[str, Any] = (await sim.read(execution_id))["steps"][0]
    return step


async def test_many_attempts_with_long_errors_beyond_ascii_can_be_recorded(
    sim: Simulation,
) -> None:
    text = "Schlüssel 😀 nicht gefunden \N{SNOWMAN}" * 2_000
    failure = StepFailed("not_found", text, retry_after=0, metadata={"text": "😀" * 5_000})
    sim.script.acts["one"] = [raises(failure) for _ in range(21)]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 20})
    await sim.run()
    body = await sim.read(execution_id)
    assert body["status"] == "failed"
    (step,) = body["steps"]
    assert [one["error_code"] for one in step["attempt_history"]] == ["not_found"] * 21
    assert step["error_message"] == text[:4_000]
    assert all(text.startswith(one["error_message"]) for one in step["attempt_history"])
    await sim.assert_nothing_left()


async def test_a_lease_renewal_whose_reply_is_lost_does_not_stop_the_step(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(lease_renewal_seconds=0.01)

    async def act(script: Script, context: StepContext) -> StepResult:
        outage = black_out(sim.wire, Mode.LOST, 3, lambda kind: kind.startswith("Executions"))
        await outage.over.wait()
        await context.confirm()
        return StepResult("done")

    step = await finished(sim, act)
    assert (step["output"], step["attempts"]) == ("done", 1)
    assert sim.clock.now() == START


@pytest.mark.parametrize("mode", [Mode.LOST, Mode.DROPPED])
async def test_a_claim_whose_reply_is_lost_runs_on_and_can_renew_its_lease(
    sim: Simulation, mode: Mode
) -> None:
    schedule = {"type": "once", "expression": "2026-11-23T02:00:20Z", "overlap": "allow"}
    await sim.create("warm", {"id": "one"}, schedule=schedule)
    await sim.run()
    for job_id, steps in (("first", ["one"]), ("second", ["two", "one"])):
        sim.script.acts["one"] = [confirms]
        schedule["expression"] = (sim.clock.now() + timedelta(seconds=30)).isoformat()
        await sim.create(job_id, *({"id": step} for step in steps), schedule=schedule)
        fault = sim.wire.arm(2 * len(steps) - 1, mode, lambda kind: kind == "Executions batch")
        due = sim.clock.now() + timedelta(seconds=30)
        await sim.run()
        assert fault.hit
        assert sim.script.steps()[-len(steps) :] == steps
        assert {one.at for one in sim.script.ran[-len(steps) :]} == {due}
        await sim.assert_nothing_left()


async def test_thirty_steps_that_end_at_the_same_time_are_all_recorded_and_run_once(
    patient: Simulation,
) -> None:
    names = [f"step_{number}" for number in range(30)]
    holds = {name: Hold() for name in names}
    for name, hold in holds.items():
        patient.script.acts[name] = [hold]
    execution_id = await patient.execute(
        "job", *({"id": name, "depends_on": []} for name in names), max_parallel=30
    )
    while await patient.deliver():
        pass
    assert patient.script.busy == 30
    for hold in holds.values():
        hold.release()
    await patient.run()
    body = await patient.read(execution_id)
    assert body["status"] == "success"
    assert [step["attempts"] for step in body["steps"]] == [1] * 30
    assert sorted(patient.script.steps()) == sorted(names)
    assert patient.host.faults == []
    assert patient.clock.now() == START
    await patient.assert_nothing_left()


async def test_a_step_that_ignores_its_cancellation_is_recorded_after_the_grace(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(cancel_grace_seconds=0.05)
    end, ended = asyncio.Event(), asyncio.Event()

    async def stubborn(script: Script, context: StepContext) -> StepResult:
        sim.clock.advance(1)
        while not end.is_set():
            with suppress(asyncio.CancelledError):
                await end.wait()
        ended.set()
        return StepResult("late")

    async def nearly_over(script: Script, context: StepContext) -> StepResult:
        script.clock.advance(59.9)
        return StepResult()

    sim.script.acts["before"], sim.script.acts["one"] = [nearly_over], [stubborn]
    execution_id = await sim.execute("job", {"id": "before"}, {"id": "one"}, timeout_seconds=60)
    await sim.run()
    step = (await sim.read(execution_id))["steps"][1]
    assert (step["status"], step["error_code"]) == ("timeout", "step_timeout")
    assert "did not stop" in step["error_message"]
    assert not ended.is_set()
    end.set()
    await ended.wait()
    await sim.assert_nothing_left()
    assert (await sim.read(execution_id))["steps"][1] == step


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (raises(asyncio.CancelledError()), "CancelledError"),
        (returns(None), "TypeError"),
        (returns({"output": 1}), "TypeError"),
    ],
    ids=["cancels itself", "returns nothing", "returns a dict"],
)
async def test_a_step_type_that_breaks_the_contract_is_reported_at_once_and_tried_again(
    sim: Simulation, act: Act, told: str
) -> None:
    step = await finished(sim, act, max_retries=1, retry_delay=1)
    first, second = step["attempt_history"]
    assert (first["error_code"], second["outcome"]) == ("step_crashed", "success")
    assert told in first["error_message"]
    assert sim.clock.now() <= START + timedelta(seconds=2)


async def test_storage_that_is_down_at_the_record_does_not_make_the_step_run_again(
    sim: Simulation,
) -> None:
    async def act(script: Script, context: StepContext) -> StepResult:
        black_out(sim.wire, Mode.REFUSED, 2, lambda kind: kind.startswith("Executions"))
        return StepResult("kept")

    step = await finished(sim, act)
    assert (step["output"], step["attempts"]) == ("kept", 1)
    assert sim.script.steps() == ["one"]


class Odd:
    """A value that is no JSON."""

    def __str__(self) -> str:
        return "odd"


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({"at": START, "odd": Odd()}, {"at": str(START), "odd": "odd"}),
        ({"half": "\ud800"}, {"half": "?"}),
        ({"huge": "ü" * 400_000}, None),
        ({"huge": "😀" * 9_000}, None),
        ({f"key{n}": n for n in range(5_000)}, None),
        ({"cycle": CYCLE}, None),
    ],
    ids=["no JSON", "half a character", "huge", "huge beyond ASCII", "many", "without end"],
)
@pytest.mark.parametrize("failed", [False, True], ids=["success", "failure"])
async def test_metadata_that_cannot_be_kept_as_it_is_changes_nothing_of_the_outcome(
    sim: Simulation, metadata: dict[str, Any], kept: dict[str, Any] | None, failed: bool
) -> None:
    failure = StepFailed("broken", "by the test", retryable=False, metadata=metadata)
    act = raises(failure) if failed else returns(StepResult("done", metadata))
    step = await finished(sim, act)
    assert step["status"] == ("failed" if failed else "success")
    assert step["output"] == (None if failed else "done")
    assert (step["attempts"], sim.script.steps()) == (1, ["one"])
    if kept is None:
        assert list(step["metadata"]) == ["metadata_error"]
    else:
        assert step["metadata"] == kept


async def test_a_failure_whose_message_is_an_error_is_told_in_its_words(sim: Simulation) -> None:
    cause: Any = ValueError("no such server")
    step = await finished(sim, raises(StepFailed("broken", cause)))
    assert (step["error_code"], step["error_message"]) == ("broken", "no such server")


async def test_an_output_without_end_is_left_out_and_the_success_stands(sim: Simulation) -> None:
    step = await finished(sim, returns(StepResult(CYCLE)), max_retries=1)
    assert (step["status"], step["attempts"], step["output"]) == ("success", 1, None)
    assert "RecursionError" in step["metadata"]["output_error"]


@pytest.mark.parametrize("retry_after", [math.inf, 1e300])
async def test_a_retry_that_is_asked_for_too_late_waits_for_the_deadline(
    sim: Simulation, retry_after: float
) -> None:
    sim.script.acts["one"] = [fails(retry_after=retry_after)]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 1}, timeout_seconds=60)
    await sim.deliver()
    assert (await sim.read(execution_id))["status"] == "retrying"
    await sim.run(minutes=2)
    assert (await sim.read(execution_id))["status"] == "timeout"
    assert (sim.script.steps(), await sim.slots()) == (["one"], [])


@pytest.mark.parametrize("retry_after", [math.nan, -math.inf, -5])
async def test_a_retry_after_that_is_no_delay_is_an_immediate_retry(
    sim: Simulation, retry_after: float
) -> None:
    step = await finished(sim, fails(retry_after=retry_after), max_retries=1)
    assert (step["status"], step["attempts"]) == ("success", 2)
    assert sim.clock.now() <= START + timedelta(seconds=1)


async def test_a_large_output_whose_blob_cannot_be_written_keeps_the_success(
    sim: Simulation,
) -> None:
    fault = sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "outputs put")
    step = await finished(sim, succeeds("x" * 50_000))
    assert fault.hit
    assert (step["status"], step["attempts"], step["output_truncated"]) == ("success", 1, True)
    assert step["output"].startswith("xxx")
    assert step["output_url"] is None
    assert "preview" in step["metadata"]["output_error"]


async def test_a_redelivered_message_of_a_finished_step_sends_no_more_than_max_parallel(
    patient: Simulation,
) -> None:
    branches = [f"branch_{number}" for number in range(5)]
    holds = [Hold() for _ in branches]
    for name, hold in zip(branches, holds, strict=True):
        patient.script.acts[name] = [hold]
    execution_id = await patient.execute(
        "job",
        {"id": "fan", "depends_on": []},
        *({"id": name, "depends_on": ["fan"]} for name in branches),
        max_parallel=2,
    )
    while await patient.deliver():
        pass
    again = Message(
        kind=MessageKind.STEP, execution_id=ExecutionId(execution_id), step="fan", attempt=1
    )
    for _ in range(2):
        queue = patient.app.dispatcher.queue_of("UTC")
        await patient.app.engine.handle(queue, again.encode(), 2)
        while await patient.deliver():
            pass
    assert (patient.script.busy, patient.script.most_busy) == (2, 2)
    for hold in holds:
        hold.release()
    await patient.run()
    assert patient.script.most_busy == 2
    assert sorted(patient.script.steps()) == [*branches, "fan"]
    await patient.assert_nothing_left()
