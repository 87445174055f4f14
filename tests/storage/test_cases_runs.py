"""Time limits, joins, changes of the job mid-run, large runs, long waits: what a run does then."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from scheduler.errors import StorageUnavailable
from steps.contract import StepContext, StepResult
from tests.storage.scripted import Act, Ended, Hold, Script, fails, succeeds
from tests.storage.simulation import AUTHOR, CALLER, START, Simulated, Simulation
from tests.storage.wire import Mode

TWO_TICKS = timedelta(seconds=120)
FORK: tuple[dict[str, Any], ...] = (
    {"id": "left", "depends_on": []},
    {"id": "right", "depends_on": []},
    {"id": "join", "depends_on": ["left", "right"]},
)


def outcomes(body: dict[str, Any], step: int = 0) -> list[str]:
    """How the attempts of a step ended."""
    return [one["outcome"] for one in body["steps"][step].get("attempt_history") or ()]


class Stubborn:
    """A first attempt that ends when the test lets it, whoever cancels it; the second succeeds."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.ended = asyncio.Event()

    async def __call__(self, script: Script, context: StepContext) -> StepResult:
        """Runs one attempt."""
        while context.attempt == 1 and not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue
        if context.attempt == 1:
            self.ended.set()
        return StepResult({"attempt": context.attempt})


@pytest.mark.parametrize("when", ["between the attempts", "in the second", "after the end"])
async def test_a_step_over_its_time_is_tried_again_and_its_late_end_is_refused(
    new_simulation: Simulated, when: str
) -> None:
    sim = await new_simulation(cancel_grace_seconds=0.05, lease_seconds=86_400)
    late, hold = Stubborn(), Hold()
    sim.script.acts["one"] = [late, hold if when == "in the second" else late]
    execution_id = await sim.execute(
        "job", {"id": "one", "timeout": 1, "max_retries": 1, "retry_delay": 10}, {"id": "two"}
    )
    await sim.deliver()
    body = await sim.read(execution_id)
    assert (body["status"], outcomes(body)) == ("retrying", ["timeout"])
    (attempt,) = body["steps"][0]["attempt_history"]
    assert attempt["error_code"] == "step_timeout"
    assert "unknown" in attempt["error_message"]
    if when != "between the attempts":
        await sim.run(sim.clock.now() + timedelta(seconds=12))
    late.gate.set()
    await late.ended.wait()
    hold.release()
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], outcomes(body)) == ("success", ["timeout", "success"])
    assert body["steps"][0]["output"] == (None if when == "in the second" else {"attempt": 2})
    waited = sim.script.ran[1].at - sim.script.ran[0].at
    assert timedelta(seconds=9) <= waited <= timedelta(seconds=12)
    assert sim.script.steps() == ["one", "one", "two"]
    await sim.assert_nothing_left()


async def test_a_step_that_always_fails_ends_with_its_last_error_after_the_pauses_of_its_policy(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [fails("first"), fails("second"), fails("last")]
    execution_id = await sim.execute(
        "job", {"id": "one", "max_retries": 2, "retry_delay": 40}, {"id": "two"}, {"id": "three"}
    )
    await sim.run()
    body = await sim.read(execution_id)
    assert body["status"] == "failed"
    assert [step["status"] for step in body["steps"]] == ["failed", "skipped", "skipped"]
    assert (body["steps"][0]["error_code"], outcomes(body)) == ("last", ["failed"] * 3)
    first, second, third = (one.at for one in sim.script.ran)
    assert 36 <= (second - first).total_seconds() <= 45
    assert 72 <= (third - second).total_seconds() <= 89
    await sim.assert_nothing_left()


async def hangs(script: Script, context: StepContext) -> StepResult:
    """Runs until it is told to stop."""
    await context.cancelled.wait()
    await asyncio.Event().wait()
    return StepResult()


async def test_a_step_over_its_time_for_the_last_time_ends_so_and_those_after_it_are_skipped(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [hangs]
    execution_id = await sim.execute("job", {"id": "one", "timeout": 1}, {"id": "two"})
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], [step["status"] for step in body["steps"]]) == (
        "failed",
        ["timeout", "skipped"],
    )
    assert "its timeout of 1 s" in body["steps"][0]["error_message"]
    await sim.assert_nothing_left()


@pytest.mark.parametrize("mode", [Mode.HELD, Mode.LATE])
@pytest.mark.parametrize("bad", [False, True], ids=["both well", "one fails"])
async def test_two_branches_whose_records_meet_make_one_join(
    sim: Simulation, mode: Mode, bad: bool
) -> None:
    holds = [Hold(), Hold()]
    sim.script.acts["left"] = [holds[0]]
    sim.script.acts["right"] = [fails_after(holds[1]) if bad else holds[1]]
    execution_id = await sim.execute("job", *FORK)
    while await sim.deliver():
        pass
    record = sim.wire.arm(1, mode, lambda kind: kind == "Executions batch")
    holds[0].release()
    if mode is Mode.HELD:
        await record.reached.wait()
        sim.wire.fault = None
        holds[1].release()
        async with asyncio.timeout(10):
            while (await sim.read(execution_id))["steps"][1]["status"] == "running":
                await asyncio.sleep(0.01)
        record.released.set()
    holds[1].release()
    await sim.run()
    body = await sim.read(execution_id)
    assert sim.script.times(execution_id, "join") == (0 if bad else 1)
    assert body["status"] == ("failed" if bad else "success")
    assert body["steps"][2]["status"] == ("skipped" if bad else "success")
    assert sim.host.faults == []
    await sim.assert_nothing_left()


def fails_after(hold: Hold) -> Act:
    """Fails for good when the test lets it go."""

    async def act(script: Script, context: StepContext) -> Ended:
        await hold(script, context)
        return await fails(retryable=False)(script, context)

    return act


@pytest.mark.parametrize("mode", [Mode.REFUSED, Mode.LOST, Mode.BUSY])
async def test_a_run_whose_start_cannot_be_sent_starts_within_two_ticks_and_its_caller_is_told(
    sim: Simulation, mode: Mode
) -> None:
    sim.wire.arm(1, mode, lambda kind: kind == "tz send")
    with pytest.raises(StorageUnavailable):
        await sim.execute("job", {"id": "one"})
    sim.wire.fault = None
    await sim.run(START + TWO_TICKS + timedelta(seconds=5))
    rows = [row async for row in sim.storage.executions.query("job", "r:", "r;")]
    assert [str(row.values["state"]) for row in rows] == ["success"]
    assert sim.script.steps() == ["one"]
    await sim.run()
    await sim.assert_nothing_left()


@pytest.mark.parametrize("change", ["edited", "made another", "paused", "deleted"])
async def test_a_run_under_way_keeps_its_definition_whatever_becomes_of_its_job(
    sim: Simulation, change: str
) -> None:
    hold = Hold()
    sim.script.acts["one"] = [hold]
    yearly = {"type": "cron", "expression": "0 0 1 1 *"}
    await sim.create("job", {"id": "one"}, {"id": "two"}, schedule=yearly)
    execution_id = await sim.execute("job")
    await sim.deliver()
    other = [{"id": "one", "type": "scripted"}, {"id": "other", "type": "scripted"}]
    if change in ("edited", "made another"):
        await sim.app.jobs.patch(CALLER, AUTHOR, "job", {"steps": other}, None)
    if change == "paused":
        await sim.app.jobs.pause(CALLER, AUTHOR, "job", {}, None)
    if change in ("deleted", "made another"):
        await sim.drop_job("job")
    if change == "made another":
        await sim.create("job", {"id": "three"}, schedule=yearly)
    await sim.restart()
    hold.release()
    await sim.run(minutes=5)
    body = await sim.read(execution_id)
    assert (body["status"], sim.script.steps()) == ("success", ["one", "two"])
    assert [step["step_id"] for step in body["steps"]] == ["one", "two"]
    if change != "deleted":
        await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_run_of_a_hundred_steps_with_the_longest_ids_runs_to_its_end(
    sim: Simulation,
) -> None:
    names = [f"{'s' * 60}_{number:03}" for number in range(100)]
    sim.script.acts[names[-1]] = [fails(retry_after=70)]
    execution_id = await sim.execute(
        "j" * 64,
        *(
            {"id": name, "depends_on": names[max(0, place - 1) : place]}
            for place, name in enumerate(names)
        ),
        name="ü" * 200,
        max_retries=20,
    )
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], sim.script.steps()) == ("success", [*names, names[-1]])
    assert sim.host.faults == []
    await sim.assert_nothing_left()


async def test_large_results_of_a_chain_never_keep_its_next_message_from_being_sent(
    sim: Simulation,
) -> None:
    sizes = (31_000, 33_000, 65_000, 1_100_000)
    names = [f"size_{size}" for size in sizes]
    for name, size in zip(names, sizes, strict=True):
        sim.script.acts[name] = [succeeds("x" * size)]
    execution_id = await sim.execute("job", *({"id": name} for name in names))
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], sim.script.steps()) == ("success", names)
    assert [step["attempts"] for step in body["steps"]] == [1] * len(sizes)
    for step, size in zip(body["steps"], sizes, strict=True):
        blob = await sim.storage.outputs.get(f"job/{execution_id}/{step['step_id']}/1.txt")
        kept = blob.decode() if blob is not None else step["output"]
        assert kept == "x" * size
        assert step["output_truncated"] == (blob is not None)
    await sim.assert_nothing_left()


@pytest.mark.parametrize(
    ("asked", "waits"),
    [(timedelta(days=6), timedelta(days=6)), (timedelta(days=30), timedelta(days=7))],
    ids=["six days", "a month, cut to a week"],
)
async def test_a_retry_in_days_is_not_lost(
    sim: Simulation, asked: timedelta, waits: timedelta
) -> None:
    sim.script.acts["two"] = [fails(retry_after=asked.total_seconds())]
    execution_id = await sim.execute(
        "job", {"id": "one"}, {"id": "two", "max_retries": 1}, timeout_seconds=604_800
    )
    while await sim.deliver():
        pass
    assert (await sim.read(execution_id))["status"] == "retrying"
    assert (await sim.slots(), sim.wire.flying) == ([], {})
    await sim.be_down(seconds=waits.total_seconds() - 300)
    await sim.run(minutes=7)
    body = await sim.read(execution_id)
    if asked == waits:
        assert body["status"] == "success"
        began = sim.script.ran[-1].at - START
        assert waits <= began <= waits + timedelta(seconds=5)
    else:
        assert body["status"] == "timeout"
    await sim.run()
    await sim.assert_nothing_left()
