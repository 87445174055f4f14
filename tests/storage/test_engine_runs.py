"""Undisturbed runs: their course, and what they cost in storage operations."""

from collections import Counter
from collections.abc import AsyncIterator

import pytest

from tests.storage.scripted import fails, succeeds
from tests.storage.simulation import START, Simulation, simulated

STEPS = ({"id": "one"}, {"id": "two"}, {"id": "three"})
SOON = {"type": "once", "expression": "2026-11-23T02:03:00Z"}
SHARD_QUERIES = 32


@pytest.fixture
async def sim(azurite: str, scheduler_name: str) -> AsyncIterator[Simulation]:
    async with simulated(azurite, scheduler_name) as simulation:
        yield simulation


@pytest.mark.parametrize("steps", [STEPS[:1], STEPS], ids=["one step", "three steps"])
async def test_an_inline_run_does_its_steps_in_order(
    sim: Simulation, steps: tuple[dict[str, str], ...]
) -> None:
    sim.script.acts["one"] = [succeeds({"rows": [1, 2]})]
    execution_id = await sim.execute("inline", *steps)
    await sim.run()
    body = await sim.read(execution_id)
    assert body["status"] == "success"
    assert sim.script.steps() == [step["id"] for step in steps]
    assert body["steps"][0]["output"] == {"rows": [1, 2]}
    assert [step["attempts"] for step in body["steps"]] == [1] * len(steps)
    assert await sim.listed() == [(execution_id, "success")]
    await sim.assert_nothing_left()
    print(sim.wire.log, sim.clock.now())


@pytest.mark.parametrize(
    ("steps", "costs"),
    [
        (STEPS[:1], {}),
        (STEPS, {}),
    ],
    ids=["one step", "three steps"],
)
async def test_a_scheduled_run_costs_so_many_storage_operations(
    sim: Simulation, steps: tuple[dict[str, str], ...], costs: dict[str, int]
) -> None:
    await sim.create("warm", *steps, schedule=SOON)
    await sim.run()
    later = {**SOON, "expression": "2026-11-23T03:01:30Z"}
    await sim.be_down(minutes=56)
    await sim.create("counted", *steps, schedule=later)
    sim.wire.counts.clear()
    await sim.run()
    print(sim.wire.log)
    print(sim.wire.counts, sim.clock.now())
    assert (await sim.read("counted.20261123T030130Z"))["status"] == "success"
    await sim.assert_nothing_left()
