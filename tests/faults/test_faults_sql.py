"""Whatever befalls a request of a run whose step commits in a real database: its effect is there.

It is there once, unless the worker died, was taken for dead or lost the storage between COMMIT and
the record of it: then that attempt is lost, and `on_interrupt` decides whether another is made.
"""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from steps.contract import StepContext, StepResult
from steps.sql import SqlStep
from tests.faults.case import ONE, Case
from tests.faults.kinds import FAULTS, OUTLIVED, UNBROKEN, Kind
from tests.faults.scenario import Scenario
from tests.faults.sweep import NOWHERE, Played, cells, turn
from tests.sql.servers import Onlooker, serving
from tests.storage.faults import SEED, Tried, fault_tests
from tests.storage.scripted import Script
from tests.storage.simulation import Simulation, simulated
from tests.storage.wire import Place

pytestmark = fault_tests
KINDS = (*FAULTS, *OUTLIVED)
MOST_ATTEMPTS = 6
ALONE = ["success"]
AGAIN = ["lost", "success"]


async def committed(case: Case) -> AsyncIterator[None]:
    await case.schedule(ONE)
    await case.announce()
    yield
    await case.go_on()


async def committed_once_at_most(case: Case) -> AsyncIterator[None]:
    await case.schedule({**ONE, "on_interrupt": "fail"})
    await case.announce()
    yield
    await case.go_on()


AT_MOST_ONCE = Scenario(committed_once_at_most, sampled=4)
SCENARIOS = (Scenario(committed, sampled=4), AT_MOST_ONCE)


class Effects:
    """What the steps of a scenario leave in a database, by the step type `sql` itself."""

    def __init__(self, onlooker: Onlooker) -> None:
        self.connections = {"default": onlooker.connection_string}
        self._onlooker = onlooker
        self._step = SqlStep()
        self._before: set[int] = set()
        self._place: Place | None = None

    async def close(self) -> None:
        """Closes the connections of the steps."""
        await self._step.close()

    def expect(self, place: Place) -> None:
        """Another case begins, in which this place is to be broken."""
        self._place = place
        self._before.clear()

    async def act(self, script: Script, context: StepContext) -> StepResult:
        """Leaves a row, and notes whether it was there before anything was broken."""
        values = {"execution": context.execution_id, "attempt": context.attempt}
        query = "INSERT INTO effect VALUES (:execution, :attempt)"
        config = self._step.Config.model_validate({"query": query, "parameters": values})
        result = await self._step.run(config, context)
        if self._place is not None and self._place.hit is None:
            self._before.add(context.attempt)
        return result

    def check(self, body: dict[str, Any], *, repeated: bool) -> str:
        """Holds the rows of an execution against what is told of it; what came of it, in words.

        Raises:
            AssertionError: they do not agree.
        """
        execution_id = body["execution_id"]
        query = f"SELECT attempt FROM effect WHERE execution = '{execution_id}' ORDER BY attempt"
        rows = self._onlooker.column(query)
        history = body["steps"][0]["attempt_history"]
        told = [str(one["outcome"]) for one in history]
        if not repeated and body["status"] == "failed":
            assert [one["error_code"] for one in history] == ["step_interrupted"], body
            assert set(rows) <= self._before, "what was not sure of its lease has committed"
            return f"interrupted, {len(rows)} rows"
        assert (body["status"], told) in (("success", ALONE), ("success", AGAIN)), body
        assert repeated or told == ALONE, body
        assert rows[-1:] == [len(told)], "a success without its row"
        # Of a lost attempt there is a row only if nothing was amiss when it committed.
        assert set(rows[:-1]) <= self._before, (rows, told)
        return f"{len(rows)} rows of {len(told)} attempts"


async def play(
    sim: Simulation, effects: Effects, scenario: Scenario, kind: Kind, at: int
) -> Played:
    """Plays a scenario with one place broken, and holds its effects against the record."""
    old = await sim.restart()
    await old.close()
    sim.script.acts.clear()
    case = Case(sim, f"{scenario.name}-{secrets.token_hex(3)}")
    case.script("one", *[effects.act] * MOST_ATTEMPTS)
    acts = scenario.play(case)
    await anext(acts)
    place = kind.place(case, at)
    effects.expect(place)
    async for _ in acts:
        raise AssertionError("a scenario yields once")
    await case.end()
    place.at = 0  # it is not to strike any more
    (execution_id,) = case.executions
    outcome = effects.check(await sim.read(execution_id), repeated=scenario is not AT_MOST_ONCE)
    await sim.assert_nothing_left()
    sim.job_ids.clear()
    return Played(place.hit, place.seen, outcome)


@pytest.fixture(scope="module")
def onlooker() -> Iterator[Onlooker]:
    """Looks at a database with a table of effects."""
    with serving() as server:
        onlooker = Onlooker(f"{server};Database=postgres")
        onlooker.do("CREATE TABLE effect (execution text, attempt integer)")
        yield onlooker
        onlooker.close()


@pytest.fixture
async def effects(onlooker: Onlooker) -> AsyncIterator[Effects]:
    """The effects of a test's steps."""
    effects = Effects(onlooker)
    yield effects
    await effects.close()


@pytest.mark.parametrize(("scenario", "kind"), cells(SCENARIOS, KINDS))
async def test_an_effect_is_there_once_unless_its_worker_was_lost_after_the_commit(
    scenario: Scenario, kind: Kind | None, azurite: str, effects: Effects, tried: Tried
) -> None:
    failures: list[Exception] = []
    async with AsyncExitStack() as stack:

        async def fresh() -> tuple[Simulation, int]:
            """A scheduler whose tables are made, and how many places the scenario has."""
            name = f"t{secrets.token_hex(6)}"
            sim = await stack.enter_async_context(
                simulated(azurite, name, connections=effects.connections)
            )
            played = [await play(sim, effects, scenario, UNBROKEN, NOWHERE) for _ in range(2)]
            return sim, played[-1].requests

        sim, requests = await fresh()
        for one, at in turn(scenario, [kind] if kind else KINDS, requests):
            try:
                played = await play(sim, effects, scenario, one, at)
            except Exception as error:
                error.add_note(f"{scenario.name}, FAULTS_AT={one.name}:{at} (FAULTS_SEED={SEED})")
                failures.append(error)
                sim, _ = await fresh()
            else:
                tried(scenario.name, one.name, played.outcome)
    if failures:
        raise ExceptionGroup(f"{len(failures)} places of {scenario.name}", failures)
