"""Every move of the transition table is made by some execution, and no execution makes another."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from scheduler.execution.rules.states import (
    RUN_MOVES,
    STEP_MOVES,
    RunEvent,
    RunState,
    StepEvent,
    StepStatus,
)
from steps.contract import LeaseLost, StepContext, StepResult
from tests.storage.drawn_jobs import Gate
from tests.storage.moves import Moves, RunMove, StepMove
from tests.storage.scripted import Hold, Script, dies, fails, takes, waits
from tests.storage.simulation import AUTHOR, CALLER, Simulated, Simulation

PENDING, RUNNING, RETRYING = RunState.PENDING, RunState.RUNNING, RunState.RETRYING
WAITS, WORKS, SLEEPS = StepStatus.PENDING, StepStatus.RUNNING, StepStatus.RETRYING
LOOKS = StepStatus.WAITING
PATIENT: dict[str, Any] = {"max_retries": 2, "retry_delay": 100}

type Play = Callable[[Simulation], Awaitable[None]]


@dataclass(frozen=True)
class Way:
    """Something that executions go through, and the moves that they make there."""

    play: Play
    of_runs: set[RunMove]
    of_steps: set[StepMove]


WAYS: dict[str, Way] = {}


def way(of_runs: set[RunMove], of_steps: set[StepMove]) -> Callable[[Play], Play]:
    """Makes a function one of the ways."""

    def note(play: Play) -> Play:
        WAYS[play.__name__.replace("_", " ")] = Way(play, of_runs, of_steps)
        return play

    return note


async def outlives_its_run(script: Script, context: StepContext) -> StepResult:
    """Is still at it when the time of its execution is over."""
    script.clock.move_to(context.deadline)
    await asyncio.Event().wait()
    return StepResult()


async def cancel(sim: Simulation, execution_id: str) -> None:
    """Cancels through the API."""
    await sim.app.executions.cancel(CALLER, AUTHOR, execution_id, {}, 0)


@way(
    {
        (PENDING, RunEvent.STEP_STARTS),
        (RUNNING, RunEvent.STEP_STARTS),
        (RUNNING, RunEvent.SUCCEEDS),
        (RUNNING, RunEvent.FAILS),
    },
    {
        (WAITS, StepEvent.STARTS),
        (WAITS, StepEvent.IS_SKIPPED),
        (WORKS, StepEvent.SUCCEEDS),
        (WORKS, StepEvent.FAILS),
    },
)
async def they_succeed_and_fail(sim: Simulation) -> None:
    """Two chains, of which one breaks."""
    sim.script.acts["two"] = [fails()]
    await sim.execute("good", {"id": "one"}, {"id": "other"})
    await sim.execute("bad", {"id": "two"}, {"id": "three"})
    await sim.run()


@way(
    {
        (RUNNING, RunEvent.ALL_SLEEP),
        (RETRYING, RunEvent.STEP_STARTS),
        (RUNNING, RunEvent.PARTLY_SUCCEEDS),
    },
    {
        (WORKS, StepEvent.WILL_RETRY),
        (SLEEPS, StepEvent.STARTS),
        (WORKS, StepEvent.IS_TAKEN_OVER),
    },
)
async def a_step_is_tried_again_and_taken_over_and_its_failure_tolerated(sim: Simulation) -> None:
    """Asleep, with a dead worker, and partly successful."""
    sim.script.acts["one"] = [fails(), dies(), fails(retryable=False)]
    await sim.execute("job", {"id": "one", "continue_on_failure": True, **PATIENT}, {"id": "two"})
    await sim.run()


@way({(PENDING, RunEvent.SUCCEEDS), (PENDING, RunEvent.IS_SKIPPED)}, set())
async def none_of_their_steps_runs(sim: Simulation) -> None:
    """There is nothing to repair, and a run that would overlap."""
    sim.script.acts["one"] = [hold := Hold()]
    await sim.create("job", {"id": "one"}, schedule={"type": "cron", "expression": "0 0 1 1 *"})
    await sim.execute("job")
    await sim.deliver()
    await sim.execute("job")
    await sim.execute("nothing", {"id": "repair", "run_if": "failure"})
    hold.release()
    await sim.drop_job("job")
    await sim.run()


@way(
    {
        (PENDING, RunEvent.IS_CANCELLED),
        (RUNNING, RunEvent.IS_CANCELLED),
        (RETRYING, RunEvent.IS_CANCELLED),
    },
    {
        (WAITS, StepEvent.IS_CANCELLED),
        (WORKS, StepEvent.IS_CANCELLED),
        (SLEEPS, StepEvent.IS_CANCELLED),
    },
)
async def they_are_cancelled(sim: Simulation) -> None:
    """Before they start, while they run, and while they sleep."""
    sim.script.acts["one"], sim.script.acts["two"] = [gate := Gate()], [fails()]
    sleeps = await sim.execute("sleeps", {"id": "two", **PATIENT})
    await sim.deliver()
    runs = await sim.execute("runs", {"id": "one"}, {"id": "after"})
    await sim.deliver()
    await cancel(sim, await sim.execute("waits", {"id": "three"}))
    for execution_id in (runs, sleeps):
        await cancel(sim, execution_id)
    with suppress(LeaseLost):
        await gate.context.confirm()
    while sim.host.workers:
        await sim.deliver()
    await sim.run()


@way(
    {
        (PENDING, RunEvent.RUNS_OUT_OF_TIME),
        (RUNNING, RunEvent.RUNS_OUT_OF_TIME),
        (RETRYING, RunEvent.RUNS_OUT_OF_TIME),
    },
    {(WORKS, StepEvent.RUNS_OUT_OF_TIME), (SLEEPS, StepEvent.RUNS_OUT_OF_TIME)},
)
async def their_time_is_over(sim: Simulation) -> None:
    """Beside a full zone, in a step, and asleep."""
    sim.script.acts["one"], sim.script.acts["three"] = [takes(59.9)], [fails()]
    sim.script.acts["two"] = [outlives_its_run]
    await sim.execute("runs", {"id": "one"}, {"id": "two"}, timeout_seconds=60)
    await sim.run()
    await sim.execute("sleeps", {"id": "three", **PATIENT}, timeout_seconds=90)
    await sim.run()
    sim.script.acts["four"] = [hold := Hold()]
    await sim.execute("holds", {"id": "four"})
    await sim.deliver()
    await sim.execute("waits", {"id": "five"}, timeout_seconds=60)
    await sim.run(minutes=2)
    hold.release()
    await sim.run()


@way(
    set(),
    {
        (WORKS, StepEvent.WILL_LOOK_AGAIN),
        (LOOKS, StepEvent.STARTS),
        (WAITS, StepEvent.IS_COPIED),
    },
)
async def they_wait_for_outside_work_and_are_retried(sim: Simulation) -> None:
    """Looked at twice, with a next step that fails."""
    sim.script.acts["one"], sim.script.acts["two"] = [waits(20), waits(200)], [fails()]
    first = await sim.execute("job", {"id": "one", "timeout": 3_600}, {"id": "two"})
    await sim.run()
    await sim.app.executions.retry(CALLER, AUTHOR, first, {}, 0)
    await sim.run()


@way(
    {(PENDING, RunEvent.FAILS), (RETRYING, RunEvent.FAILS)},
    {
        (SLEEPS, StepEvent.FAILS),
        (LOOKS, StepEvent.FAILS),
        (LOOKS, StepEvent.IS_CANCELLED),
        (LOOKS, StepEvent.RUNS_OUT_OF_TIME),
    },
)
async def the_scheduler_itself_fails_at_them(sim: Simulation) -> None:
    """Their definitions cannot be read any more."""
    sim.script.acts["one"], sim.script.acts["three"] = [fails()], [waits(100), waits(100)]
    await sim.create("sleeps", {"id": "one", **PATIENT})
    await sim.create("waits", {"id": "two"})
    await sim.create("looks", {"id": "three", "timeout": 3_600})
    await sim.create("late", {"id": "four", "timeout": 3_600}, timeout_seconds=90)
    sim.script.acts["four"] = [waits(600)]
    for job_id in ("sleeps", "late", "looks", "looks"):
        looks = await sim.execute(job_id)
        await sim.deliver()
    await sim.execute("waits")
    for job_id in ("sleeps", "waits", "looks", "late"):
        row = await sim.app.catalog.require(job_id)
        text = sim.app.cipher.encrypt(b'{"id": 7}')
        await sim.storage.definitions.put(f"{job_id}/{row.definition}", text)
    await sim.restart()
    await cancel(sim, looks)
    await sim.run()
    assert sim.host.crashes
    sim.host.crashes.clear()
    sim.failures.clear()


@pytest.mark.parametrize("name", WAYS)
async def test_executions_make_the_moves_that_they_are_said_to_when(
    new_simulation: Simulated, name: str
) -> None:
    sim = await new_simulation(
        max_concurrent_per_timezone=1,
        lease_seconds=86_400 if name == "their time is over" else 60,
        lease_renewal_seconds=86_400,
        cancel_grace_seconds=0.05,
    )
    moves, expected = Moves(sim), WAYS[name]
    await expected.play(sim)
    assert moves.wrong == []
    assert expected.of_runs - moves.of_runs == set()
    assert expected.of_steps - moves.of_steps == set()
    await sim.assert_nothing_left()


def test_these_moves_together_are_the_whole_table() -> None:
    made = list(WAYS.values())
    assert set[RunMove]().union(*(one.of_runs for one in made)) == RUN_MOVES.keys()
    assert set[StepMove]().union(*(one.of_steps for one in made)) == STEP_MOVES.keys()
