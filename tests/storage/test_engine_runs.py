"""Undisturbed runs: their course, and what they cost in storage operations."""

from collections import Counter
from dataclasses import replace

import pytest

from scheduler.dispatch.ids import ExecutionId
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


TEN: Steps = tuple({"id": f"step_{number}"} for number in range(1, 11))


def costs_of(steps: int) -> dict[str, int]:
    """The storage operations of a scheduled run."""
    return {
        "Zones batch": 3,  # announce, grant, leave
        "Zones query": 2,  # slots and waiters: before the grant, after the slot is free
        "Jobs batch": 1,  # move the due row on
        "Jobs get": 1,
        "Executions batch": 2 * steps,  # claim and record
        "Days batch": 1,
        "tz send": steps,
        "tz receive": steps,
        "tz delete": steps,
    }


@pytest.mark.parametrize("steps", [STEPS[:1], STEPS, TEN], ids=["one", "three", "ten"])
async def test_an_undisturbed_scheduled_run_costs_five_operations_a_step_and_eight(
    sim: Simulation, steps: Steps
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
    assert costs == costs_of(len(steps))
    assert costs.total() == 5 * len(steps) + 8
    assert (await sim.read("counted.20261123T020300Z"))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_step_whose_message_carries_an_old_run_row_reads_the_row(sim: Simulation) -> None:
    execution_id = await sim.execute("job", *STEPS)
    await sim.deliver()
    stored = await sim.app.store.run(ExecutionId(execution_id))
    assert stored is not None
    await sim.app.store.save(replace(stored.value, message="changed"), stored.etag)
    await sim.run()
    body = await sim.read(execution_id)
    assert (body["status"], body["message"]) == ("success", "changed")
    assert sim.script.steps() == ["one", "two", "three"]
    await sim.assert_nothing_left()


async def test_a_run_row_that_is_too_long_to_be_carried_is_read(sim: Simulation) -> None:
    steps = [{"id": f"step_{number}_{'x' * 50}"} for number in range(30)]
    execution_id = await sim.execute("job", *steps)
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    assert sim.wire.counts["Executions get"] > 0
    await sim.assert_nothing_left()
