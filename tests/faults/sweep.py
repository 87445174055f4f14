"""Tries faults at the requests of a scenario: at all of them, or at those whose turn it is."""

import os
import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from tests.faults.case import Case
from tests.faults.kinds import UNBROKEN, Kind
from tests.faults.scenario import Allowed, Scenario, verdict
from tests.storage.faults import ALL, SEED, Tried
from tests.storage.simulation import Simulation, simulated

ONLY = os.environ.get("FAULTS_AT")
"""One place alone, such as `refused:7`."""
NOWHERE = 1_000_000
_MADE_ONCE = frozenset({"tables create", "definitions create", "outputs create"})

type Sweep = Callable[[Scenario, Kind | None, Sequence[Kind]], Awaitable[None]]


def cells(scenarios: Sequence[Scenario], kinds: Sequence[Kind]) -> list[object]:
    """The parameters of a test: each scenario and kind, or each scenario with a sample."""
    if not ALL:
        return [pytest.param(one, None, id=one.name) for one in scenarios]
    return [
        pytest.param(one, kind, id=f"{one.name}-{kind.name}") for one in scenarios for kind in kinds
    ]


@dataclass(frozen=True)
class Played:
    """The kind of the request that was broken, how many there were to it, and what came of it."""

    hit: str | None
    requests: int
    outcome: str


async def play(sim: Simulation, scenario: Scenario, kind: Kind, at: int) -> Played:
    """Plays a scenario with one place broken."""
    old = await sim.restart()  # with cold caches, so that a place is the same whatever was before
    await old.close()
    sim.script.acts.clear()
    case = Case(sim, f"{scenario.name}-{secrets.token_hex(3)}", repeats=kind.repeats)
    acts = scenario.play(case)
    await anext(acts)
    began = len(sim.wire.log)
    place = kind.place(case, at)
    async for _ in acts:
        raise AssertionError("a scenario yields once")
    await case.end()
    place.at = 0  # it is not to strike any more
    costs = Allowed(kind.costs.lost + case.deaths, kind.costs.begun + case.deaths)
    if not kind.felt:
        assert sim.host.faults == []
    # Where a table is still to be made, it is asked in vain first.
    made = sum(one in _MADE_ONCE for one in sim.wire.log[began:])
    outcome = await verdict(scenario, case, costs)
    sim.job_ids.clear()
    sim.script.ran.clear()
    return Played(place.hit, place.seen - 2 * made, outcome)


def turn(scenario: Scenario, kinds: Sequence[Kind], requests: int) -> list[tuple[Kind, int]]:
    """The kinds and places whose turn it is."""
    every = [(kind, at) for kind in kinds for at in range(1, requests + 1)]
    if ONLY is not None:
        return [(kind, at) for kind, at in every if f"{kind.name}:{at}" == ONLY]
    if ALL:
        return every
    random.Random(scenario.name).shuffle(every)
    first = SEED * scenario.sampled % len(every)
    return (every + every)[first : first + min(scenario.sampled, len(every))]


async def sweep(
    azurite: str, tried: Tried, scenario: Scenario, kind: Kind | None, kinds: Sequence[Kind]
) -> None:
    """Plays a scenario unbroken, and then with each place broken whose turn it is.

    Raises:
        ExceptionGroup: what went wrong, place by place.
    """
    failures: list[Exception] = []
    async with AsyncExitStack() as stack:

        async def fresh() -> Simulation:
            name = f"t{secrets.token_hex(6)}"
            return await stack.enter_async_context(simulated(azurite, name, **scenario.settings))

        sim = await fresh()
        requests = (await play(sim, scenario, UNBROKEN, NOWHERE)).requests
        for one, at in turn(scenario, [kind] if kind else kinds, requests):
            try:
                played = await play(sim, scenario, one, at)
            except Exception as error:
                error.add_note(f"{scenario.name}, FAULTS_AT={one.name}:{at} (FAULTS_SEED={SEED})")
                failures.append(error)
                tried(scenario.name, one.name, "FAILED")
                sim = await fresh()
            else:
                if played.hit is not None:
                    tried(scenario.name, one.name, played.outcome)
    if failures:
        raise ExceptionGroup(f"{len(failures)} places of {scenario.name}", failures)
