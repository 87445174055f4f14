"""Steps that clean up: they also run after a failure, a cancel and the end of the job's time."""

from typing import Any

import pytest

from scheduler.errors import InvalidRequest
from tests.storage.scripted import Hold, dies, fails, succeeds, takes, waits
from tests.storage.simulation import AUTHOR, CALLER, Simulated, Simulation

ALWAYS: dict[str, Any] = {"id": "tidy", "run_if": "always"}
NOTICE: dict[str, Any] = {"id": "notice", "run_if": "failure"}


async def cancel(sim: Simulation, execution_id: str) -> dict[str, Any]:
    """Cancels through the API; the reply's body."""
    return (await sim.app.executions.cancel(CALLER, AUTHOR, execution_id, {}, 0)).body


def ends(body: dict[str, Any]) -> tuple[str, list[str]]:
    """How an execution and its steps ended."""
    return body["status"], [step["status"] for step in body["steps"]]


@pytest.fixture
async def quick(new_simulation: Simulated) -> Simulation:
    """A scheduler whose leases are renewed many times a second, and outlast every step."""
    return await new_simulation(
        lease_seconds=86_400, lease_renewal_seconds=0.02, cancel_grace_seconds=0.1
    )


async def test_after_a_success_only_those_that_always_run_do(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"}, ALWAYS, NOTICE)
    await sim.run()
    body = await sim.read(execution_id)
    assert ends(body) == ("success", ["success", "success", "skipped"])
    assert body["steps"][2]["skip_reason"] == "run_if is failure, and no step before it failed"
    await sim.assert_nothing_left()


async def test_after_a_failure_both_run_and_the_execution_stays_failed(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails()]
    execution_id = await sim.execute("job", {"id": "one"}, {"id": "two"}, ALWAYS, NOTICE)
    await sim.run()
    body = await sim.read(execution_id)
    assert ends(body) == ("failed", ["failed", "skipped", "success", "success"])
    assert body["steps"][1]["skip_reason"] == "step one failed"
    assert sim.script.steps() == ["one", "tidy", "notice"]
    await sim.assert_nothing_left()


async def test_after_a_cancel_they_run_once_the_steps_that_ran_have_stopped(
    quick: Simulation,
) -> None:
    quick.script.acts["one"] = [Hold()]
    execution_id = await quick.execute("job", {"id": "one"}, {"id": "two"}, NOTICE, ALWAYS)
    await quick.deliver()
    told = await cancel(quick, execution_id)
    assert ends(told) == ("running", ["running", "cancelled", "pending", "pending"])
    await quick.run()
    body = await quick.read(execution_id)
    assert ends(body) == ("cancelled", ["cancelled", "cancelled", "success", "success"])
    assert quick.script.steps() == ["one", "notice", "tidy"]
    await quick.assert_nothing_left()


async def test_after_a_cancel_between_attempts_they_run_at_once(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails(retry_after=600)]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 1}, ALWAYS)
    await sim.deliver()
    assert await sim.slots() == []
    told = await cancel(sim, execution_id)
    assert ends(told) == ("retrying", ["cancelled", "pending"])
    began = sim.clock.now()
    await sim.run()
    body = await sim.read(execution_id)
    assert ends(body) == ("cancelled", ["cancelled", "success"])
    assert body["end_time"] == began
    await sim.assert_nothing_left()


async def test_where_nothing_has_begun_there_is_nothing_to_clean_up(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1)
    sim.script.acts["other"] = [hold := Hold()]
    await sim.execute("full", {"id": "other"})
    await sim.deliver()
    parked = await sim.execute("job", {"id": "one"}, ALWAYS, NOTICE)
    await sim.deliver()
    assert ends(await cancel(sim, parked)) == ("cancelled", ["cancelled"] * 3)
    hold.release()
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_cancel_while_only_cleaning_up_is_left_changes_nothing(quick: Simulation) -> None:
    quick.script.acts["one"], quick.script.acts["tidy"] = [fails()], [hold := Hold()]
    execution_id = await quick.execute("job", {"id": "one"}, ALWAYS)
    while await quick.deliver():
        pass
    told = await cancel(quick, execution_id)
    assert ends(told) == ("running", ["failed", "running"])
    assert [one["code"] for one in told["warnings"]] == ["only_cleaning_up"]
    hold.release()
    await quick.run()
    body = await quick.read(execution_id)
    assert (ends(body), body["cancel"]) == (("failed", ["failed", "success"]), None)
    await quick.assert_nothing_left()


async def test_when_the_time_is_over_they_still_get_their_own(new_simulation: Simulated) -> None:
    sim = await new_simulation(lease_seconds=86_400)
    sim.script.acts["one"], sim.script.acts["tidy"] = [takes(70)], [takes(300)]
    execution_id = await sim.execute(
        "job", {"id": "one"}, {"id": "two"}, ALWAYS, NOTICE, timeout_seconds=60
    )
    await sim.run()
    body = await sim.read(execution_id)
    assert ends(body) == ("timeout", ["success", "skipped", "success", "success"])
    assert body["steps"][1]["skip_reason"] == "the job's time was over before its turn"
    assert body["message"].startswith("the job's timeout_seconds of 60 passed")
    await sim.assert_nothing_left()


async def test_time_that_is_over_only_while_they_clean_up_changes_nothing(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(lease_seconds=86_400)
    sim.script.acts["tidy"] = [takes(300)]
    execution_id = await sim.execute(
        "job", {"id": "one"}, ALWAYS, {**ALWAYS, "id": "last"}, timeout_seconds=60
    )
    await sim.run()
    assert ends(await sim.read(execution_id)) == ("success", ["success"] * 3)
    await sim.assert_nothing_left()


async def test_asleep_when_the_time_is_over_they_run_all_the_same(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails(retry_after=600)]
    execution_id = await sim.execute(
        "job", {"id": "one", "max_retries": 1}, ALWAYS, timeout_seconds=100
    )
    await sim.run()
    assert ends(await sim.read(execution_id)) == ("timeout", ["timeout", "success"])
    await sim.assert_nothing_left()


async def test_the_worker_of_one_that_cleans_up_dies_after_a_cancel_and_it_is_taken_over(
    quick: Simulation, new_simulation: Simulated
) -> None:
    sim = await new_simulation()
    sim.script.acts["one"], sim.script.acts["tidy"] = [fails(retry_after=600)], [dies()]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 1}, ALWAYS)
    await sim.deliver()
    await cancel(sim, execution_id)
    await sim.run()
    body = await sim.read(execution_id)
    assert ends(body) == ("cancelled", ["cancelled", "success"])
    assert [one["outcome"] for one in body["steps"][1]["attempt_history"]] == ["lost", "success"]
    await sim.assert_nothing_left()


async def test_they_may_fail_retry_and_wait_like_any_other_step(sim: Simulation) -> None:
    sim.script.acts["one"] = [fails(retry_after=600)]
    sim.script.acts["tidy"] = [fails(retry_after=5), waits(600), succeeds()]
    execution_id = await sim.execute(
        "job", {"id": "one", "max_retries": 1}, {**ALWAYS, "max_retries": 1, "timeout": 3_600}
    )
    await sim.deliver()
    await cancel(sim, execution_id)
    await sim.run()
    body = await sim.read(execution_id)
    assert ends(body) == ("cancelled", ["cancelled", "success"])
    assert sim.script.stopped == []
    await sim.assert_nothing_left()


async def test_one_that_fails_to_clean_up_makes_a_good_execution_fail(sim: Simulation) -> None:
    sim.script.acts["tidy"] = [fails()]
    execution_id = await sim.execute("job", {"id": "one"}, ALWAYS)
    await sim.run()
    assert ends(await sim.read(execution_id)) == ("failed", ["success", "failed"])
    await sim.assert_nothing_left()


async def test_a_tolerated_step_that_the_jobs_time_ends_makes_the_execution_time_out(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [waits(600)]
    one = {"id": "one", "timeout": 3_600, "continue_on_failure": True}
    execution_id = await sim.execute("job", one, NOTICE, timeout_seconds=100)
    await sim.run()
    assert ends(await sim.read(execution_id)) == ("timeout", ["timeout", "success"])
    await sim.assert_nothing_left()


async def test_after_a_tolerated_step_a_cancel_is_told_too(quick: Simulation) -> None:
    quick.script.acts["one"] = [Hold()]
    one = {"id": "one", "continue_on_failure": True}
    execution_id = await quick.execute("job", one, NOTICE, ALWAYS)
    await quick.deliver()
    await cancel(quick, execution_id)
    await quick.run()
    assert ends(await quick.read(execution_id)) == (
        "cancelled",
        ["cancelled", "success", "success"],
    )
    await quick.assert_nothing_left()


async def test_what_waits_for_a_step_that_can_never_run_is_refused(sim: Simulation) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await sim.create("job", NOTICE, {"id": "one"})
    assert [(one.pointer, one.code) for one in refused.value.errors] == [("/steps/1", "never_runs")]
    steps = ({**NOTICE, "depends_on": []}, {"id": "one", "depends_on": ["notice"]})
    with pytest.raises(InvalidRequest) as refused:
        await sim.create("job", *steps)
    assert [one.pointer for one in refused.value.errors] == ["/steps/1/depends_on/0"]
