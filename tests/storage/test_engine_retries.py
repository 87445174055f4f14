"""Steps that fail: retries with back-off, what follows a failure, and time that runs out."""

from datetime import timedelta
from typing import Any

import pytest

from scheduler.execution.rules.retry import retry_delay
from steps.contract import StepContext
from tests.storage.scripted import Act, Ended, Hold, Script, crashes, fails, succeeds, takes
from tests.storage.simulation import START, Simulation


def statuses(body: dict[str, Any]) -> dict[str, str]:
    return {step["step_id"]: step["status"] for step in body["steps"]}


async def finished(sim: Simulation, *steps: dict[str, Any], **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """Runs an inline job to its end, and makes sure that nothing is left."""
    execution_id = await sim.execute("job", *steps, **fields)
    await sim.run()
    await sim.assert_nothing_left()
    return await sim.read(execution_id)


async def test_a_failed_step_is_tried_again_after_a_doubling_delay(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails(), fails()]
    body = await finished(sim, {"id": "one", "max_retries": 2, "retry_delay": 20})
    assert (body["status"], statuses(body)) == ("success", {"one": "success"})
    (step,) = body["steps"]
    outcomes = [one["outcome"] for one in step["attempt_history"]]
    assert outcomes == ["failed", "failed", "success"]
    first, second, third = (one.at for one in sim.script.ran)
    seed = f"{body['execution_id']}:one"
    for waited, failures in ((second - first, 1), (third - second, 2)):
        delay = retry_delay(20, failures, seed)
        assert timedelta(0) <= waited - timedelta(seconds=delay) <= timedelta(seconds=1)


async def test_a_retry_in_more_than_two_minutes_waits_as_a_row_and_not_as_a_message(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [fails(retry_after=300)]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 1})
    await sim.deliver()
    assert sim.wire.flying == {}
    assert [key for key in await sim.leftovers() if key.startswith("wake:")] != []
    assert (await sim.read(execution_id))["status"] == "retrying"
    assert await sim.slots() == []
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    first, second = (one.at for one in sim.script.ran)
    assert timedelta(0) <= second - first - timedelta(seconds=300) <= timedelta(seconds=1)
    await sim.assert_nothing_left()


async def test_a_failure_that_is_not_retryable_ends_the_step_at_once(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails("no_such_table", retryable=False)]
    body = await finished(sim, {"id": "one", "max_retries": 5}, {"id": "two"})
    assert (body["status"], body["steps"][0]["attempts"]) == ("failed", 1)
    assert body["steps"][0]["error_code"] == "no_such_table"
    assert statuses(body) == {"one": "failed", "two": "skipped"}
    assert await sim.listed() == [(body["execution_id"], "failed")]


async def test_a_step_that_goes_on_failing_ends_after_its_retries(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails()] * 9
    body = await finished(sim, {"id": "one"}, {"id": "two"}, max_retries=2, retry_delay=1)
    assert (body["status"], body["steps"][0]["attempts"]) == ("failed", 3)
    assert sim.script.steps() == ["one"] * 3


async def test_a_bug_in_a_step_type_is_a_retryable_failure_without_its_text(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [crashes(), succeeds("fine")]
    body = await finished(sim, {"id": "one", "max_retries": 1, "retry_delay": 1})
    first, second = body["steps"][0]["attempt_history"]
    assert (first["error_code"], second["outcome"]) == ("step_crashed", "success")
    assert "a bug" not in first["error_message"]
    assert body["steps"][0]["output"] == "fine"


async def test_a_step_that_may_fail_leaves_a_partial_success(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails()]
    body = await finished(sim, {"id": "one", "continue_on_failure": True}, {"id": "two"})
    assert (body["status"], statuses(body)) == (
        "partial_success",
        {"one": "failed", "two": "success"},
    )


async def test_run_if_picks_the_steps_by_the_outcome_of_those_before(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails()]
    body = await finished(
        sim,
        {"id": "one"},
        {"id": "then", "depends_on": ["one"]},
        {"id": "repair", "depends_on": ["one"], "run_if": "failure"},
        {"id": "clean", "depends_on": ["then", "repair"], "run_if": "always"},
    )
    assert body["status"] == "failed"
    assert statuses(body) == {
        "one": "failed",
        "then": "skipped",
        "repair": "success",
        "clean": "success",
    }


async def test_branches_run_side_by_side_up_to_max_parallel_and_join_once(
    sim: Simulation,
) -> None:
    branches = [f"branch_{number}" for number in range(5)]
    holds = {name: Hold() for name in branches}
    for name, hold in holds.items():
        sim.script.acts[name] = [hold]
    execution_id = await sim.execute(
        "job",
        {"id": "fan", "depends_on": []},
        *({"id": name, "depends_on": ["fan"]} for name in branches),
        {"id": "join", "depends_on": branches},
        max_parallel=3,
    )
    while await sim.deliver():
        pass
    assert (sim.script.busy, sim.script.most_busy) == (3, 3)
    for name in branches:
        holds[name].release()
    await sim.run()
    body = await sim.read(execution_id)
    assert set(statuses(body).values()) == {"success"}
    assert sim.script.most_busy == 3
    assert sorted(sim.script.steps()) == sorted(["fan", *branches, "join"])
    assert sim.script.steps()[-1] == "join"
    await sim.assert_nothing_left()


async def test_roots_start_together(sim: Simulation) -> None:
    holds = [Hold(), Hold()]
    sim.script.acts["left"], sim.script.acts["right"] = [holds[0]], [holds[1]]
    execution_id = await sim.execute(
        "job", {"id": "left", "depends_on": []}, {"id": "right", "depends_on": []}
    )
    while await sim.deliver():
        pass
    assert sim.script.busy == 2
    for hold in holds:
        hold.release()
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


@pytest.mark.parametrize("later", [False, True], ids=["at once", "after the others are done"])
async def test_two_branches_that_finish_together_start_their_join_once(
    sim: Simulation, later: bool
) -> None:
    holds = [Hold(), Hold()]
    sim.script.acts["left"], sim.script.acts["right"] = [holds[0]], [holds[1]]
    execution_id = await sim.execute(
        "job",
        {"id": "left", "depends_on": []},
        {"id": "right", "depends_on": []},
        {"id": "join", "depends_on": ["left", "right"]},
    )
    while await sim.deliver():
        pass
    holds[0].release()
    if later:
        await sim.deliver()
    holds[1].release()
    await sim.run()
    assert sim.script.times(execution_id, "join") == 1
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_deadline_that_passes_while_the_run_sleeps_is_settled_by_upkeep(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [fails(retry_after=600)]
    body = await finished(sim, {"id": "one", "max_retries": 1}, {"id": "two"}, timeout_seconds=120)
    assert (body["status"], statuses(body)) == ("timeout", {"one": "timeout", "two": "skipped"})
    assert START + timedelta(seconds=120) <= body["end_time"] <= START + timedelta(seconds=180)
    assert "timeout_seconds of 120" in body["message"]
    assert sim.script.steps() == ["one"]


async def test_a_step_that_begins_after_the_deadline_does_not_run(sim: Simulation) -> None:
    sim.script.acts["one"] = [takes(90)]
    body = await finished(sim, {"id": "one"}, {"id": "two"}, timeout_seconds=60)
    assert body["status"] == "timeout"
    assert statuses(body) == {"one": "success", "two": "skipped"}


async def test_a_step_whose_time_is_up_is_stopped(sim: Simulation) -> None:
    sim.script.acts["one"] = [Hold()]

    async def time_passes() -> None:
        sim.clock.advance(100)

    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"}, timeout_seconds=60)
    sim.wire.before("Executions batch", time_passes)
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], statuses(body)) == ("timeout", {"one": "timeout", "two": "skipped"})
    assert body["steps"][0]["error_code"] == "step_timeout"
    assert "the job's timeout_seconds" in body["steps"][0]["error_message"]
    assert (sim.script.busy, sim.script.held) == (0, 0)
    await sim.assert_nothing_left()


@pytest.mark.parametrize("length", [100, 29_000, 30_001, 5_000_000])
async def test_an_output_that_no_row_can_hold_is_kept_in_a_blob_with_a_preview_in_the_row(
    sim: Simulation, length: int
) -> None:
    text = "ü€😀x" * (length // 4)
    sim.script.acts["one"] = [succeeds({"text": text})]
    body = await finished(sim, {"id": "one"})
    (step,) = body["steps"]
    large = length > 24_000
    assert (body["status"], step["output_truncated"]) == ("success", large)
    if not large:
        assert step["output"] == {"text": text}
        return
    whole = '{"text":"' + text + '"}'
    assert step["output"] == whole[:4_000]
    assert step["metadata"]["output_characters"] == len(whole)
    name = f"job/{body['execution_id']}/one/1.json"
    assert await sim.storage.outputs.get(name) == whole.encode()


async def test_a_run_out_of_time_says_where_the_time_went(sim: Simulation) -> None:
    sim.script.acts["one"] = [takes(20)]
    sim.script.acts["two"] = [takes_and_fails(30), takes_and_fails(40)]
    body = await finished(
        sim,
        {"id": "one"},
        {"id": "two", "max_retries": 2, "retry_delay": 100},
        timeout_seconds=250,
    )
    assert body["status"] == "timeout"
    assert body["message"] == (
        "the job's timeout_seconds of 250 passed before its steps were done: 0 s before the first"
        f" step, 20 s in step one, 70 s in step two (2 attempts), {left(body, 90):g} s between"
        " attempts"
    )


def left(body: dict[str, Any], worked: float) -> float:
    """The seconds of an execution in which no attempt ran."""
    took: timedelta = body["end_time"] - body["start_time"]
    return round(took.total_seconds() - worked, 1)


def takes_and_fails(seconds: float) -> Act:
    """Fails when the clock has moved on by so much."""

    async def act(script: Script, context: StepContext) -> Ended:
        await takes(seconds)(script, context)
        return await fails()(script, context)

    return act
