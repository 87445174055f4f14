"""Runs that the control word holds: what happens meanwhile to their job, zone and line."""

from datetime import timedelta
from typing import Any

import pytest

from tests.storage.scripted import Hold
from tests.storage.simulation import AUTHOR, CALLER, START, Simulated, Simulation
from tests.storage.test_control import ADMIN, EVERY_TEN_MINUTES, SOON_ID, announced, finish, say

SPAN = {"from": "2026-11-23T01:00:00Z", "to": "2026-11-23T01:35:00Z"}
AT_FIVE = {"type": "cron", "expression": "0 5 * * *"}


async def test_a_backfill_that_is_held_runs_in_its_order_and_leaves_nothing(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    await sim.app.backfills.backfill(CALLER, AUTHOR, "job", SPAN)
    await say(sim, "stopped")
    await sim.run(minutes=3)
    assert sim.script.ran == []
    await say(sim, "running")
    await sim.run(minutes=4)
    assert [one.execution_id for one in sim.script.ran] == [
        f"job.20261123T01{minute}00Z.b1" for minute in ("00", "10", "20", "30")
    ]
    await finish(sim, "job")


async def test_a_held_run_is_not_left_to_a_later_one_that_a_change_took_away(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    await sim.run(START.replace(minute=9))
    await say(sim, "paused")
    await sim.run(START.replace(minute=15))
    await sim.app.jobs.patch(CALLER, AUTHOR, "job", {"schedule": AT_FIVE}, None)
    await sim.run(START.replace(minute=25))
    await say(sim, "running")
    await sim.run(minutes=2)
    assert [one.execution_id for one in sim.script.ran] == ["job.20261123T021000Z"]
    await finish(sim, "job")


async def test_a_held_run_runs_the_steps_that_its_job_has_when_it_is_let_go(
    sim: Simulation,
) -> None:
    await announced(sim)
    await say(sim, "paused")
    await sim.run(minutes=2)
    mended = {"steps": [{"id": "mended", "type": "scripted"}]}
    await sim.app.jobs.patch(CALLER, AUTHOR, "job", mended, None)
    await say(sim, "running")
    await sim.run()
    assert sim.script.steps() == ["mended"]
    await sim.assert_nothing_left()


async def test_a_held_run_of_a_job_made_anew_is_skipped(sim: Simulation) -> None:
    await announced(sim)
    await say(sim, "paused")
    await sim.run(minutes=2)
    await sim.drop_job("job")
    await sim.create("job", {"id": "two"}, schedule=AT_FIVE)
    await say(sim, "running")
    await sim.run(minutes=2)
    assert sim.script.ran == []
    assert "deleted" in (await sim.read(SOON_ID))["message"]
    await finish(sim, "job")


async def parked(new_simulation: Simulated, **schedule: str) -> tuple[Simulation, Hold]:
    """The run of 02:02:30, of at most two minutes, parked behind one that is held up."""
    sim = await new_simulation(max_concurrent_per_timezone=1)
    await announced(sim, timeout_seconds=120, schedule=schedule)
    await sim.run(START.replace(minute=2, second=20))
    hold = Hold()
    sim.script.acts["first"] = [hold]
    await sim.execute("other", {"id": "first"})
    await sim.run(START.replace(minute=2, second=35))
    return sim, hold


@pytest.mark.parametrize(
    ("schedule", "status"), [({}, "success"), ({"catch_up": "none"}, "skipped")]
)
async def test_a_parked_run_is_held_and_decided_about_like_any_other(
    new_simulation: Simulated, schedule: dict[str, str], status: str
) -> None:
    sim, hold = await parked(new_simulation, **schedule)
    await say(sim, "paused")
    await sim.app.upkeep.run()
    hold.release()
    await sim.run(minutes=12)
    assert (await sim.read(SOON_ID))["status"] == "pending"
    await say(sim, "running")
    await sim.run()
    assert (await sim.read(SOON_ID))["status"] == status
    await sim.assert_nothing_left()


async def test_held_runs_that_queue_start_in_the_order_of_their_instants(sim: Simulation) -> None:
    schedule: dict[str, Any] = {"type": "interval", "expression": "15s", "overlap": "queue"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.run(START + timedelta(seconds=20))
    await sim.app.controls.write(ADMIN, {"state": "paused"})
    await sim.run(minutes=3)
    sim.script.ran.clear()
    await say(sim, "running")
    await sim.run(minutes=1)
    ran = [one.execution_id for one in sim.script.ran]
    assert len(ran) >= 8
    held = [one for one in ran if one < "job.20261123T0202"]  # announced before the pause
    assert held == sorted(held)
    assert len(held) >= 4
    await finish(sim, "job")
