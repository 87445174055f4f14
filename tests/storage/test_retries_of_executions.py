"""`POST /executions/{id}/retry`: a new execution that goes on from where one failed."""

from datetime import timedelta
from typing import Any

import pytest

from scheduler.errors import (
    Conflict,
    Forbidden,
    InvalidRequest,
    NotFound,
    StorageUnavailable,
)
from scheduler.security.principals import Principal, Role
from tests.storage.scripted import Hold, fails, succeeds
from tests.storage.simulation import AUTHOR, CALLER, Simulation
from tests.storage.wire import Mode

STEPS: tuple[dict[str, Any], ...] = (
    {"id": "one", "publish": ["rows"]},
    {"id": "two", "parameters": "{{steps.one.rows}} on {{today}}"},
    {"id": "three"},
)


async def retry(sim: Simulation, execution_id: str, **body: Any) -> dict[str, Any]:  # noqa: ANN401
    """Retries through the API; the reply's body."""
    return (await sim.app.executions.retry(CALLER, AUTHOR, execution_id, body, 0)).body


def ends(body: dict[str, Any]) -> tuple[str, list[str]]:
    return body["status"], [step["status"] for step in body["steps"]]


async def failed(sim: Simulation, *steps: dict[str, Any]) -> str:
    """An execution whose second step has failed."""
    sim.script.acts["one"] = [succeeds({"of": "one"}, rows=7)]
    sim.script.acts["two"] = [fails()]
    execution_id = await sim.execute("job", *(steps or STEPS))
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "failed"
    sim.script.ran.clear()
    return execution_id


async def test_what_succeeded_is_taken_over_with_its_values_and_the_rest_is_done(
    sim: Simulation,
) -> None:
    first = await failed(sim)
    before = await sim.read(first)
    sim.clock.advance(24 * 3_600)
    told = await retry(sim, first)
    assert (told["retry_of"], told["trigger"], told["status"]) == (first, "retry", "pending")
    assert told["execution_id"] != first
    await sim.run()
    body = await sim.read(told["execution_id"])
    assert ends(body) == ("success", ["success"] * 3)
    assert sim.script.steps() == ["two", "three"]
    assert sim.script.ran[0].parameters == "7 on 2026-11-23"
    assert [step["copied_from"] for step in body["steps"]] == [first, None, None]
    kept = ("output", "start_time", "end_time", "attempts", "published")
    assert {name: body["steps"][0][name] for name in kept} == {
        name: before["steps"][0][name] for name in kept
    }
    assert body["scheduled_time"] == before["scheduled_time"]
    after = await sim.read(first)
    assert after == {**before, "retries": [told["execution_id"]]}
    await sim.assert_nothing_left()


async def test_a_retry_of_a_retry_names_both_and_takes_over_from_both(sim: Simulation) -> None:
    first = await failed(sim)
    sim.script.acts["three"] = [fails()]
    second = (await retry(sim, first))["execution_id"]
    await sim.run()
    third = (await retry(sim, second))["execution_id"]
    await sim.run()
    body = await sim.read(third)
    assert ends(body) == ("success", ["success"] * 3)
    assert sim.script.steps() == ["two", "three", "three"]
    assert [step["copied_from"] for step in body["steps"]] == [first, second, None]
    assert body["steps"][0]["output"] == {"of": "one"}
    assert (body["retry_of"], body["retried"]) == (second, [first, second])
    assert (await sim.read(second))["retries"] == [third]
    await sim.assert_nothing_left()


async def test_what_comes_after_a_step_that_is_done_again_is_done_again_too(
    sim: Simulation,
) -> None:
    sim.script.acts["left"] = [fails()]
    first = await sim.execute(
        "job",
        {"id": "left", "depends_on": [], "continue_on_failure": True},
        {"id": "right", "depends_on": []},
        {"id": "after", "depends_on": ["left"]},
        {"id": "tidy", "depends_on": ["right"], "run_if": "always"},
    )
    await sim.run()
    assert (await sim.read(first))["status"] == "partial_success"
    sim.script.ran.clear()
    second = (await retry(sim, first))["execution_id"]
    await sim.run()
    assert sorted(sim.script.steps()) == ["after", "left", "tidy"]
    assert ends(await sim.read(second)) == ("success", ["success"] * 4)
    await sim.assert_nothing_left()


async def test_a_retry_waits_its_turn_as_any_run_of_its_job(sim: Simulation) -> None:
    yearly = {"type": "cron", "expression": "0 0 1 1 *"}
    sim.script.acts["two"] = [fails(), hold := Hold()]
    await sim.create("job", {"id": "one"}, {"id": "two"}, schedule=yearly)
    first = await sim.execute("job")
    while await sim.deliver():
        pass
    await sim.execute("job")
    while await sim.deliver():
        pass
    told = await retry(sim, first)
    assert ends(told) == ("skipped", ["success", "skipped"])
    assert told["message"].startswith("another run of the job is unfinished")
    hold.release()
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_there_is_nothing_to_retry_of_a_success_or_of_what_still_runs(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [hold := Hold()]
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.deliver()
    with pytest.raises(Conflict) as refused:
        await retry(sim, execution_id)
    assert refused.value.code == "execution_unfinished"
    hold.release()
    await sim.run()
    with pytest.raises(Conflict) as refused:
        await retry(sim, execution_id)
    assert refused.value.code == "nothing_to_retry"
    for name in ("nonsense", "job.20260101T000000Z"):
        with pytest.raises(NotFound):
            await retry(sim, name)
    with pytest.raises(InvalidRequest):
        await retry(sim, execution_id, step="two")


async def test_the_job_must_still_be_there_and_enabled(sim: Simulation) -> None:
    sim.script.acts["two"] = [fails(), fails()]
    await sim.create("job", {"id": "two"})
    first = await sim.execute("job")
    await sim.run()
    await sim.app.jobs.pause(CALLER, AUTHOR, "job", {}, None)
    with pytest.raises(Conflict) as refused:
        await retry(sim, first)
    assert refused.value.code == "job_disabled"
    second = (await retry(sim, first, force=True))["execution_id"]
    await sim.run()
    await sim.drop_job("job")
    with pytest.raises(NotFound) as gone:
        await retry(sim, second)
    assert gone.value.code == "job_not_found"


async def test_a_retry_runs_what_the_execution_ran_though_the_job_has_changed(
    sim: Simulation,
) -> None:
    sim.script.acts["two"] = [fails()]
    await sim.create("job", {"id": "two"})
    first = await sim.execute("job")
    await sim.run()
    changed = {"name": "job", "steps": [{"id": "other", "type": "scripted"}]}
    await sim.app.jobs.replace(CALLER, AUTHOR, "job", changed, None, None)
    sim.script.ran.clear()
    await retry(sim, first)
    await sim.run()
    assert sim.script.steps() == ["two"]


async def test_who_may_not_run_its_steps_may_not_retry_it(sim: Simulation) -> None:
    first = await failed(sim)
    operator = Principal("op", "op", Role.OPERATOR, frozenset({"*"}))
    with pytest.raises(Forbidden):  # it was an inline definition
        await sim.app.executions.retry(CALLER, operator, first, {}, 0)
    author = Principal("sql", "sql", Role.AUTHOR, frozenset({"sql"}))
    with pytest.raises(Forbidden):
        await sim.app.executions.retry(CALLER, author, first, {}, 0)
    assert (await sim.read(first))["retries"] == []


async def test_a_cancelled_execution_and_one_out_of_time_can_be_retried(sim: Simulation) -> None:
    sim.script.acts["two"] = [fails(retry_after=600), fails(retry_after=600)]
    steps = (STEPS[0], {**STEPS[1], "max_retries": 1}, STEPS[2])
    sim.script.acts["one"] = [succeeds(rows=7)]
    first = await sim.execute("job", *steps, timeout_seconds=100)
    await sim.run()
    second = (await retry(sim, first))["execution_id"]
    while await sim.deliver():
        pass
    await sim.app.executions.cancel(CALLER, AUTHOR, second, {}, 0)
    await sim.run()
    third = (await retry(sim, second))["execution_id"]
    await sim.run(sim.clock.now() + timedelta(seconds=5))
    assert [(await sim.read(one))["status"] for one in (first, second, third)] == [
        "timeout",
        "cancelled",
        "success",
    ]
    assert sim.script.steps() == ["one", "two", "two", "two", "three"]


async def test_a_retry_of_a_cancelled_coming_run_whose_start_is_lost_is_started_by_upkeep(
    sim: Simulation,
) -> None:
    once = {"type": "once", "expression": "2026-11-23T05:00:00"}
    await sim.create("job", {"id": "one"}, schedule=once)
    first = "job.20261123T050000Z"
    with pytest.raises(Conflict) as refused:
        await retry(sim, first)
    assert refused.value.code == "execution_unfinished"
    await sim.app.executions.cancel(CALLER, AUTHOR, first, {}, 0)
    sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "tz send")
    with pytest.raises(StorageUnavailable):
        await retry(sim, first)
    await sim.run(minutes=5)
    assert sim.script.steps() == ["one"]


async def test_retries_stand_in_line_like_other_runs_that_are_asked_for(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails(), hold := Hold()]
    yearly = {"type": "cron", "expression": "0 0 1 1 *", "overlap": "queue"}
    await sim.create("job", {"id": "one"}, schedule=yearly)
    first = await sim.execute("job")
    await sim.run(minutes=10)
    await sim.execute("job")
    await sim.deliver()
    told = [(await retry(sim, first))["status"] for _ in range(22)]
    assert (told.count("pending"), told.count("skipped")) == (20, 2)
    hold.release()
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()
