"""Storage that fails now and then, or for minutes: runs go on by themselves, callers are told."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from scheduler.errors import StorageUnavailable
from steps.contract import StepContext
from tests.storage.faults import SEED
from tests.storage.outage import bad_spell, of_a_table
from tests.storage.scripted import Ended, Hold, Script, fails, succeeds
from tests.storage.simulation import Simulated, Simulation
from tests.storage.wire import Mode

CHAIN: tuple[dict[str, Any], ...] = ({"id": "one"}, {"id": "two"}, {"id": "three"})
FORK: tuple[dict[str, Any], ...] = (
    {"id": "left", "depends_on": []},
    {"id": "right", "depends_on": []},
    {"id": "join", "depends_on": ["left", "right"]},
)
PATIENT: tuple[dict[str, Any], ...] = ({"id": "flaky", "max_retries": 1, "retry_delay": 90},)
SHAPES = (CHAIN, FORK, PATIENT)


async def fails_first(script: Script, context: StepContext) -> Ended:
    """Fails in the first attempt, and succeeds in any other."""
    return await (fails() if context.attempt == 1 else succeeds())(script, context)


async def states(sim: Simulation, job_id: str) -> list[str]:
    """The states of a job's executions."""
    rows = sim.storage.executions.query(job_id, "r:", "r;")
    return [str(row.values["state"]) async for row in rows]


def failed_by_the_step(body: dict[str, Any]) -> list[str]:
    """The error codes of all attempts, but for workers that were lost."""
    history = [one for step in body["steps"] for one in step.get("attempt_history") or ()]
    codes = [one["error_code"] for one in history if one["error_code"] is not None]
    return [code for code in codes if code != "worker_lost"]


@pytest.mark.parametrize("seed", [SEED % 100])
async def test_while_one_request_in_five_fails_every_run_ends_and_every_caller_is_told(
    sim: Simulation, seed: int
) -> None:
    sim.script.acts["flaky"] = [fails_first] * 8
    bad_spell(sim.wire, Mode.BUSY, seconds=60, share=0.2, seed=seed)
    told: dict[str, str | None] = {}
    for number in range(12):
        try:
            told[f"job-{number}"] = await sim.execute(f"job-{number}", *SHAPES[number % 3])
        except StorageUnavailable:
            told[f"job-{number}"] = None
        await sim.run(minutes=0.1)
    assert None in told.values()
    sim.wire.clock.advance(60)
    await sim.run()
    for job_id, execution_id in told.items():
        ended = await states(sim, job_id)
        assert ended == ["success"] or (execution_id is None and ended == []), job_id
        if execution_id is None:
            continue
        body = await sim.read(execution_id)
        assert set(failed_by_the_step(body)) <= {"broken"}, job_id
        for step in body["steps"]:
            assert sim.script.times(execution_id, step["step_id"]) == step["attempts"], job_id
    assert sim.host.faults
    await sim.assert_nothing_left()


@pytest.mark.parametrize("minutes", [5, 12])
async def test_when_tables_are_out_of_reach_for_minutes_messages_wait_and_runs_go_on(
    sim: Simulation, minutes: int
) -> None:
    sim.script.acts["flaky"] = [fails()]
    hold = Hold()
    sim.script.acts["two"] = [hold]
    sleeper = await sim.execute("sleeper", *PATIENT)
    between = await sim.execute("between", *CHAIN)
    while await sim.deliver():
        pass
    fresh = await sim.execute("fresh", *FORK)
    end = bad_spell(
        sim.wire, Mode.REFUSED, seconds=minutes * 60, matches=lambda kind: not kind.startswith("tz")
    ).until
    assert end is not None
    await sim.run(minutes=0.2)
    sim.wire.fault = None
    hold.release()
    await sim.deliver()
    bad_spell(sim.wire, Mode.REFUSED, seconds=minutes * 60 - 12, matches=of_a_table)
    await sim.run(end - timedelta(seconds=1))
    ran = len(sim.script.ran)
    assert [await states(sim, job) for job in ("sleeper", "fresh")] == [["retrying"], ["pending"]]
    await sim.run(end + timedelta(seconds=150))
    for execution_id in (sleeper, between, fresh):
        body = await sim.read(execution_id)
        assert body["status"] == "success", body
        history = [one["outcome"] for one in body["steps"][0]["attempt_history"]]
        assert history == (["failed", "success"] if execution_id == sleeper else ["success"])
    assert len(sim.script.ran) > ran
    assert await sim.poisoned() == []
    await sim.run()
    await sim.assert_nothing_left()


async def test_runs_that_came_due_while_tables_were_out_of_reach_start_once_it_is_over(
    sim: Simulation,
) -> None:
    end_at = (sim.clock.now() + timedelta(minutes=4)).isoformat()
    every = {"type": "cron", "expression": "* * * * *", "overlap": "allow", "end_at": end_at}
    await sim.create("job", {"id": "one"}, schedule=every)
    end = bad_spell(sim.wire, Mode.REFUSED, seconds=270, matches=of_a_table).until
    assert end is not None
    await sim.run(end)
    assert sim.script.ran == []
    await sim.run(end + timedelta(seconds=120))
    assert await states(sim, "job") == ["success"] * 4
    assert sim.script.steps() == ["one"] * 4
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_step_that_cannot_renew_its_lease_is_stopped_and_run_again_after_the_outage(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(lease_seconds=20, lease_renewal_seconds=0.01)
    hold = Hold()
    sim.script.acts["one"] = [hold]
    execution_id = await sim.execute("job", {"id": "one"})
    await sim.deliver()
    spell = bad_spell(sim.wire, Mode.REFUSED, seconds=300, matches=of_a_table)
    sim.clock.advance(25)
    async with asyncio.timeout(20):
        while sim.host.workers:
            await sim.deliver()
            await asyncio.sleep(0.01)
    assert sim.script.busy == 0
    assert spell.until is not None
    await sim.run(spell.until + timedelta(seconds=150))
    body = await sim.read(execution_id)
    assert body["status"] == "success"
    assert [one["outcome"] for one in body["steps"][0]["attempt_history"]] == ["lost", "success"]
    await sim.run()
    await sim.assert_nothing_left()
