"""Undisturbed runs: their course, and what they cost in storage operations."""

from collections import Counter

import pytest

from tests.storage.scripted import succeeds
from tests.storage.simulation import START, Simulation

type Steps = tuple[dict[str, str], ...]

STEPS: Steps = ({"id": "one"}, {"id": "two"}, {"id": "three"})
WARM = {"type": "once", "expression": "2026-11-23T02:00:20Z"}
SOON = {"type": "once", "expression": "2026-11-23T02:03:00Z"}
OF_EACH_MESSAGE = ("tz receive", "tz delete")
"""What the host does for a message, beside the app."""


@pytest.mark.parametrize("steps", [STEPS[:1], STEPS], ids=["one step", "three steps"])
async def test_an_inline_run_does_its_steps_in_order(sim: Simulation, steps: Steps) -> None:
    sim.script.acts["one"] = [succeeds({"rows": [1, 2]})]
    execution_id = await sim.execute("inline", *steps)
    await sim.run()
    body = await sim.read(execution_id)
    assert body["status"] == "success"
    assert sim.script.steps() == [step["id"] for step in steps]
    assert body["steps"][0]["output"] == {"rows": [1, 2]}
    assert [step["attempts"] for step in body["steps"]] == [1] * len(steps)
    assert sim.clock.now() == START
    assert await sim.listed() == [(execution_id, "success")]
    await sim.assert_nothing_left()


async def test_a_scheduled_run_by_a_cold_instance_loads_its_definition(sim: Simulation) -> None:
    await sim.create("job", *STEPS, schedule=WARM, timezone="Asia/Tokyo")
    await sim.restart()
    await sim.run()
    body = await sim.read("job.20261123T020020Z")
    assert (body["status"], body["trigger"]) == ("success", "schedule")
    assert sim.wire.counts["definitions get"] == 1
    await sim.assert_nothing_left()


COSTS = {
    "Zones batch": (3, 3),  # announce, grant, leave
    "Zones query": (2, 2),  # slots and waiters: before the grant, after the slot is free
    "Jobs batch": (1, 1),  # move the due row on
    "Jobs get": (1, 1),
    "Executions batch": (2, 6),  # claim and record, each step
    "Executions get": (0, 2),  # each step but the first
    "Days batch": (1, 1),
    "tz send": (1, 3),
    "tz receive": (1, 3),
    "tz delete": (1, 3),
}
"""Storage operations of a scheduled run: of one step, of three steps."""


@pytest.mark.parametrize(("steps", "column"), [(STEPS[:1], 0), (STEPS, 1)], ids=["one", "three"])
async def test_an_undisturbed_scheduled_run_costs_six_operations_a_step_and_seven(
    sim: Simulation, steps: Steps, column: int
) -> None:
    await sim.create("warm", *steps, schedule=WARM)
    await sim.run()
    await sim.create("counted", *steps, schedule=SOON)
    await sim.be_down(seconds=60)
    sim.wire.counts.clear()
    await sim.app.tick.run()
    assert sim.wire.counts.pop("Jobs query") == 16
    assert sim.wire.counts.pop("Control get") == 1
    await sim.be_down(seconds=120)
    while await sim.deliver():
        pass
    costs = Counter(sim.wire.counts)
    messages = costs["tz send"]
    costs.update(dict.fromkeys(OF_EACH_MESSAGE, messages))
    assert costs == {kind: pair[column] for kind, pair in COSTS.items() if pair[column]}
    assert costs.total() == 6 * len(steps) + 7
    assert (await sim.read("counted.20261123T020300Z"))["status"] == "success"
    await sim.assert_nothing_left()
