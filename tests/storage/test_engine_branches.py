"""Branches of which some can never run: the others start side by side, at once."""

from typing import Any

import pytest

from tests.storage.scripted import Hold, dies, takes
from tests.storage.simulation import Simulation

REPAIR: tuple[dict[str, Any], ...] = (
    {"id": "repair", "depends_on": [], "run_if": "failure"},
    {"id": "left", "depends_on": ["repair"]},
    {"id": "right", "depends_on": ["repair"]},
)


@pytest.fixture
def refused_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets jobs be stored as an earlier version did, where a step waits for one that never runs."""
    monkeypatch.setattr("scheduler.api.job_graph._check_never_run", lambda *_: None)


@pytest.mark.usefixtures("refused_by_now")
@pytest.mark.parametrize("scheduled", [False, True], ids=["by hand", "by schedule"])
async def test_steps_after_one_that_is_skipped_from_the_start_run_side_by_side(
    patient: Simulation, scheduled: bool
) -> None:
    holds = [Hold(), Hold()]
    patient.script.acts["left"], patient.script.acts["right"] = [holds[0]], [holds[1]]
    if scheduled:
        at = {"type": "once", "expression": "2026-11-23T02:00:40Z"}
        await patient.create("job", *REPAIR, schedule=at)
        await patient.app.run_tick()
        await patient.be_down(seconds=30)
        execution_id = "job.20261123T020040Z"
    else:
        execution_id = await patient.execute("job", *REPAIR)
    while await patient.deliver():
        pass
    assert patient.script.busy == 2
    body = await patient.read(execution_id)
    assert [step["status"] for step in body["steps"]] == ["skipped", "running", "running"]
    for hold in holds:
        hold.release()
    before = patient.clock.now()
    await patient.run()
    assert (await patient.read(execution_id))["end_time"] == before
    await patient.assert_nothing_left()


async def test_nothing_begins_once_the_time_is_over_beside_a_step_whose_worker_died(
    sim: Simulation,
) -> None:
    sim.script.acts["left"], sim.script.acts["right"] = [dies()], [takes(70)]
    steps: list[dict[str, Any]] = [{"id": name, "depends_on": []} for name in ("left", "right")]
    execution_id = await sim.execute(
        "job", *steps, {"id": "next", "depends_on": ["right"]}, timeout_seconds=60
    )
    await sim.run()
    body = await sim.read(execution_id)
    assert sorted(sim.script.steps()) == ["left", "right"]
    assert [step["status"] for step in body["steps"]] == ["failed", "success", "skipped"]
    assert body["status"] == "timeout"
    await sim.assert_nothing_left()
