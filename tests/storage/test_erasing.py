"""`DELETE executions/{id}`: nothing of it is left, whatever broke on the way."""

import asyncio
from typing import Any

import pytest

from scheduler.errors import Conflict, NotFound
from tests.storage.accidents import broken_off
from tests.storage.faults import Tried, fault_tests, places
from tests.storage.scripted import Hold, fails, succeeds
from tests.storage.simulation import AUTHOR, CALLER, Simulation
from tests.storage.wire import Mode

pytestmark = fault_tests
MODES = (Mode.REFUSED, Mode.LOST, Mode.ERROR_AFTER, Mode.KILLED_AFTER)


async def erase(sim: Simulation, execution_id: str) -> dict[str, Any]:
    return await sim.app.executions.erase(CALLER, execution_id)


async def ended(sim: Simulation, job_id: str) -> str:
    """An execution of an inline job with a large output and a step that fails."""
    sim.script.acts["one"], sim.script.acts["two"] = [succeeds("x" * 40_000)], [fails()]
    execution_id = await sim.execute(job_id, {"id": "one"}, {"id": "two"})
    await sim.run()
    return execution_id


async def left(sim: Simulation, job_id: str) -> list[str]:
    """All that storage still holds of a job's executions."""
    rows = sim.storage.executions.query(job_id, "", "~")
    found = [row.key async for row in rows]
    found += [one for one, _ in await sim.listed() if one.startswith(f"{job_id}.")]
    for blobs in (sim.storage.outputs, sim.storage.definitions):
        found += await blobs.names(f"{job_id}/")
    return found


async def test_nothing_is_left_of_an_execution_and_all_is_of_the_others(sim: Simulation) -> None:
    other = await ended(sim, "other")
    before = await left(sim, "other")
    execution_id = await ended(sim, "job")
    assert len(await left(sim, "job")) == 6
    await erase(sim, execution_id)
    assert await left(sim, "job") == []
    assert await left(sim, "other") == before
    with pytest.raises(NotFound):
        await sim.read(execution_id)
    with pytest.raises(NotFound):
        await erase(sim, execution_id)
    assert (await sim.read(other))["status"] == "failed"
    await sim.assert_nothing_left()


async def test_the_definition_of_a_stored_job_stays(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    execution_id = await sim.execute("job")
    await sim.run()
    await erase(sim, execution_id)
    await sim.execute("job")
    await sim.restart()
    await sim.run()
    assert sim.script.steps() == ["one", "one"]


async def test_what_has_not_ended_is_not_erased_nor_what_a_retry_takes_over_from(
    sim: Simulation,
) -> None:
    execution_id = await ended(sim, "job")
    sim.script.acts["two"] = [hold := Hold()]
    retry = (await sim.app.executions.retry(CALLER, AUTHOR, execution_id, {}, 0)).execution_id
    await sim.deliver()
    for one, code in ((retry, "execution_unfinished"), (execution_id, "execution_in_use")):
        with pytest.raises(Conflict) as refused:
            await erase(sim, one)
        assert refused.value.code == code
    hold.release()
    await sim.run()
    await erase(sim, execution_id)
    body = await sim.read(retry)
    assert [step["status"] for step in body["steps"]] == ["success", "success"]
    assert [step["copied_from"] for step in body["steps"]] == [execution_id, None]
    assert body["steps"][0]["output"] is None
    await erase(sim, retry)
    assert await left(sim, "job") == []


async def test_a_definition_that_a_job_was_stored_with_since_stays(sim: Simulation) -> None:
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.run()
    await sim.create("job", {"id": "one"})
    await erase(sim, execution_id)
    await sim.restart()
    again = await sim.execute("job")
    await sim.run()
    assert (await sim.read(again))["status"] == "success"


async def test_the_record_of_a_cancelled_coming_run_stays_until_its_time_is_past(
    sim: Simulation,
) -> None:
    once = {"type": "once", "expression": "2026-11-23T03:00:00"}
    await sim.create("job", {"id": "one"}, schedule=once)
    execution_id = "job.20261123T030000Z"
    with pytest.raises(Conflict) as refused:
        await erase(sim, execution_id)
    assert refused.value.code == "execution_unfinished"
    await sim.app.executions.cancel(CALLER, AUTHOR, execution_id, {}, 0)
    for minutes in (0, 70, 7 * 24 * 60):
        await sim.be_down(minutes=minutes)
        await sim.run(minutes=2)
        with pytest.raises(Conflict) as refused:
            await erase(sim, execution_id)
        assert refused.value.code == "execution_in_use"
    await sim.be_down(days=1)
    await erase(sim, execution_id)
    await sim.run(minutes=5)
    assert sim.script.ran == []
    assert [name.partition("/")[0] for name in await left(sim, "job")] == ["job"]


async def retried(sim: Simulation, execution_id: str) -> str:
    return (await sim.app.executions.retry(CALLER, AUTHOR, execution_id, {}, 0)).execution_id


async def test_what_a_retry_of_a_retry_takes_over_is_not_erased_though_one_between_is(
    sim: Simulation,
) -> None:
    first = await ended(sim, "job")
    sim.script.acts["two"] = [fails(), fails(), hold := Hold()]
    second = await retried(sim, first)
    await sim.run()
    third = await retried(sim, second)
    await sim.run()
    await erase(sim, second)
    assert (await sim.read(first))["retries"] == []
    await retried(sim, third)
    await sim.deliver()
    for execution_id in (first, third):
        with pytest.raises(Conflict) as refused:
            await erase(sim, execution_id)
        assert refused.value.code == "execution_in_use"
    hold.release()
    await sim.run()
    for execution_id in (first, third):
        await erase(sim, execution_id)


async def test_a_retry_of_what_is_erased_meanwhile_is_refused(sim: Simulation) -> None:
    execution_id = await ended(sim, "job")

    async def overtake() -> None:
        await erase(sim, execution_id)

    sim.wire.before("Executions batch", overtake)
    with pytest.raises(NotFound) as refused:
        await retried(sim, execution_id)
    assert refused.value.code == "execution_not_found"
    await sim.run()
    assert await left(sim, "job") == []


async def test_two_calls_at_once_are_both_answered(sim: Simulation) -> None:
    execution_id = await ended(sim, "job")
    results = await asyncio.gather(
        *(erase(sim, execution_id) for _ in range(3)), return_exceptions=True
    )
    assert [one for one in results if not isinstance(one, dict | NotFound)] == []
    assert await left(sim, "job") == []


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_breaks_off_anywhere_may_be_repeated(
    sim: Simulation, mode: Mode, tried: Tried
) -> None:
    for place in places(range(1, 12, 3)):
        job_id = f"job{place}"
        execution_id = await ended(sim, job_id)
        fault = await broken_off(sim, place, mode, erase(sim, execution_id))
        if fault.hit is None:
            return
        tried()
        try:
            await erase(sim, execution_id)
        except NotFound:
            assert mode is not Mode.REFUSED
        assert await left(sim, job_id) == []
