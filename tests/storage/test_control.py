"""The control word: what starts, what is held, and what happens when runs may start."""

from datetime import timedelta
from typing import Any

import pytest

from scheduler.dispatch.control import ZONE_STATE
from scheduler.errors import Conflict, InvalidRequest
from scheduler.security.audit import Caller
from scheduler.security.principals import Principal, Role
from scheduler.storage.tables import Delete
from tests.storage.faults import ALL, SEED
from tests.storage.scripted import Hold
from tests.storage.simulation import START, UNDECLARED, Simulated, Simulation
from tests.storage.wire import Mode

ADMIN_PRINCIPAL = Principal("root", "root", Role.ADMIN, frozenset({"*"}))
ADMIN = Caller(ADMIN_PRINCIPAL)
EVERY_TEN_MINUTES = {"type": "cron", "expression": "*/10 * * * *"}
EVERY_MINUTE = {"type": "cron", "expression": "* * * * *"}
SOON = {"type": "once", "expression": "2026-11-23T02:02:30Z"}
SOON_ID = "job.20261123T020230Z"


async def say(sim: Simulation, state: str, note: str | None = None) -> dict[str, Any]:
    return await sim.app.controls.write(ADMIN, {"state": state, "note": note})


async def announced(sim: Simulation, **fields: Any) -> None:  # noqa: ANN401
    """A job that is due at 02:02:30, its start already sent."""
    await sim.create(
        "job", {"id": "one"}, schedule={**SOON, **fields.pop("schedule", {})}, **fields
    )
    await sim.run(START.replace(minute=1, second=20))


async def skips(sim: Simulation) -> list[str]:
    """What the skipped executions of the day say."""
    ids = [one for one, state in await sim.listed() if state == "skipped"]
    return [(await sim.read(one))["message"] for one in ids]


async def finish(sim: Simulation, *jobs: str) -> None:
    for job_id in jobs:
        await sim.drop_job(job_id)
    await sim.run()
    await sim.assert_nothing_left()


async def test_nobody_has_said_a_word_so_runs_start(sim: Simulation) -> None:
    word = await sim.app.controls.read()
    assert (word["state"], word["note"], word["changed_at"]) == ("running", None, None)


async def test_the_word_tells_why_when_and_by_whom(sim: Simulation) -> None:
    await say(sim, "paused", "database is being moved")
    word = await sim.app.controls.read()
    assert (word["state"], word["note"], word["changed_by"]) == (
        "paused",
        "database is being moved",
        "root",
    )
    assert word["changed_at"] == sim.clock.now()


@pytest.mark.parametrize("body", [{}, {"state": "off"}, {"state": "paused", "reason": "x"}])
async def test_a_word_that_is_none_is_refused(sim: Simulation, body: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest):
        await sim.app.controls.write(ADMIN, body)
    assert (await sim.app.controls.read())["state"] == "running"


@pytest.mark.parametrize("state", ["paused", "stopped"])
async def test_no_scheduled_run_starts_and_the_missed_are_made_up_for_by_the_policy(
    sim: Simulation, state: str
) -> None:
    await sim.create("job", {"id": "one"}, schedule={**EVERY_TEN_MINUTES, "overlap": "allow"})
    await say(sim, state)
    await sim.run(minutes=55)
    assert sim.script.ran == []
    await say(sim, "running")
    await sim.run(minutes=1)
    assert [one.execution_id for one in sim.script.ran] == ["job.20261123T025000Z"]
    assert [text.partition(",")[0] for text in await skips(sim)] == ["4 missed runs"]
    await finish(sim, "job")


@pytest.mark.parametrize("zone", ["UTC", UNDECLARED])
async def test_a_start_already_sent_is_held_and_runs_once_when_runs_may_start(
    sim: Simulation, zone: str
) -> None:
    await announced(sim, timezone=zone, schedule={"expression": "2026-11-23T02:02:30Z"})
    await say(sim, "paused")
    await sim.run(minutes=4)
    assert sim.script.ran == []
    assert (await sim.read(SOON_ID))["status"] == "pending"
    await say(sim, "running")
    await sim.run()
    assert sim.script.times(SOON_ID, "one") == 1
    await sim.assert_nothing_left()


@pytest.mark.parametrize(
    ("catch_up", "ran", "skipped"),
    [
        ("latest", ["0250"], ["3 missed runs", "a later run makes up for it"]),
        ("all", ["0210", "0220", "0230", "0240", "0250"], []),
        ("none", [], ["4 missed runs", "(catch_up: none)"]),
    ],
)
async def test_a_start_held_for_long_is_one_of_the_missed_runs_that_catch_up_decides_about(
    sim: Simulation, catch_up: str, ran: list[str], skipped: list[str]
) -> None:
    await sim.create("job", {"id": "one"}, schedule={**EVERY_TEN_MINUTES, "catch_up": catch_up})
    await sim.run(START.replace(minute=9))
    await say(sim, "paused")
    await sim.run(START.replace(minute=55))
    await say(sim, "running")
    await sim.run(minutes=2)
    assert [one.execution_id[13:17] for one in sim.script.ran] == ran
    reasons = await skips(sim)
    assert len(reasons) == len(skipped)
    for part in skipped:
        assert any(part in reason for reason in reasons)
    await finish(sim, "job")


async def test_the_time_that_a_run_is_held_does_not_count(sim: Simulation) -> None:
    execution_id = await sim.execute("inline", {"id": "one"}, timeout_seconds=60)
    await say(sim, "stopped")
    await sim.run(minutes=10)
    await say(sim, "running")
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    await sim.assert_nothing_left()


async def test_a_run_that_is_held_does_not_keep_others_of_its_job_from_running(
    sim: Simulation,
) -> None:
    await announced(sim)
    await say(sim, "paused")
    await sim.run(minutes=2)
    manual = await sim.execute("job")
    await sim.run(minutes=1)
    assert (await sim.read(manual))["status"] == "success"
    await say(sim, "running")
    await sim.run()
    assert sim.script.times(SOON_ID, "one") == 1
    await sim.assert_nothing_left()


@pytest.mark.parametrize("change", ["pause", "delete"])
async def test_a_held_run_of_a_job_that_is_paused_or_deleted_is_skipped_with_the_reason(
    sim: Simulation, change: str
) -> None:
    await announced(sim)
    await say(sim, "paused")
    await sim.run(minutes=2)
    if change == "delete":
        await sim.drop_job("job")
    else:
        await sim.app.jobs.pause(ADMIN, ADMIN_PRINCIPAL, "job", {}, None)
    await say(sim, "running")
    await sim.run()
    assert f"the job was {change}d before the run" in (await sim.read(SOON_ID))["message"]
    assert sim.script.ran == []
    await sim.assert_nothing_left()


async def test_manual_runs_start_while_it_is_paused_and_are_refused_while_it_is_stopped(
    sim: Simulation,
) -> None:
    await say(sim, "paused")
    execution_id = await sim.execute("inline", {"id": "one"})
    await sim.run()
    assert sim.script.times(execution_id, "one") == 1
    await say(sim, "stopped", "moving house")
    with pytest.raises(Conflict, match="moving house") as refused:
        await sim.execute("inline", {"id": "one"})
    assert refused.value.code == "scheduler_stopped"
    await say(sim, "running")
    await sim.assert_nothing_left()


async def test_a_manual_start_already_sent_is_held_while_it_is_stopped(sim: Simulation) -> None:
    execution_id = await sim.execute("inline", {"id": "one"})
    await say(sim, "stopped")
    await sim.run(minutes=3)
    assert sim.script.ran == []
    assert await sim.slots() == []
    await say(sim, "running")
    await sim.run()
    assert sim.script.times(execution_id, "one") == 1
    await sim.assert_nothing_left()


async def test_running_work_goes_on_to_its_last_step(sim: Simulation) -> None:
    hold = Hold()
    sim.script.acts["one"] = [hold]
    execution_id = await sim.execute("inline", {"id": "one"}, {"id": "two"})
    await sim.deliver()
    await say(sim, "stopped")
    hold.release()
    await sim.run(minutes=2)
    assert (await sim.read(execution_id))["status"] == "success"
    await say(sim, "running")
    await sim.assert_nothing_left()


async def test_parked_runs_wait_on_while_those_that_may_start_pass_them(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1)
    await announced(sim)
    await sim.run(START.replace(minute=2, second=20))
    hold = Hold()
    sim.script.acts["one"] = [hold]
    first = await sim.execute("first", {"id": "one"})
    await sim.run(START.replace(minute=2, second=40))  # parked behind the first
    await say(sim, "paused")
    manual = await sim.execute("second", {"id": "two"})
    hold.release()
    await sim.run(minutes=2)
    assert (sim.script.times(first, "one"), sim.script.times(manual, "two")) == (1, 1)
    assert sim.script.times(SOON_ID, "one") == 0
    await say(sim, "running")
    await sim.run()
    assert sim.script.times(SOON_ID, "one") == 1
    await sim.assert_nothing_left()


async def test_a_job_made_while_it_is_paused_waits_too_even_in_a_zone_that_is_new(
    sim: Simulation,
) -> None:
    await say(sim, "paused")
    await sim.create("job", {"id": "one"}, schedule=EVERY_MINUTE, timezone="Asia/Tokyo")
    await sim.run(minutes=3)
    assert sim.script.ran == []
    await say(sim, "running")
    await sim.run(minutes=1)
    assert sim.script.ran != []
    await finish(sim, "job")


async def test_upkeep_marks_the_zones_that_a_crash_left_out(sim: Simulation) -> None:
    await announced(sim)
    await say(sim, "paused")
    queue = sim.app.dispatcher.queue_of("UTC")
    await sim.storage.zones.commit(queue, [Delete(ZONE_STATE, None)])
    await sim.app.upkeep.run()
    row = await sim.storage.zones.get(queue, ZONE_STATE)
    assert row is not None
    assert row.values["state"] == "paused"
    await say(sim, "running")
    await sim.run()
    await sim.assert_nothing_left()


@pytest.mark.faults
@pytest.mark.parametrize("mode", [Mode.REFUSED, Mode.LOST])
@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_a_held_start_survives_a_fault_of_any_of_its_requests(
    sim: Simulation, mode: Mode, overlap: str
) -> None:
    for place in range(1, 10) if ALL else range(1 + SEED % 3, 10, 3):
        due = sim.clock.now().replace(microsecond=0) + timedelta(seconds=125)
        schedule = {"type": "once", "expression": due.isoformat(), "overlap": overlap}
        await sim.create(f"job{place}", {"id": "one"}, schedule=schedule)
        await sim.run(minutes=2)
        await say(sim, "paused")
        await sim.be_down(seconds=10)
        fault = sim.wire.arm(place, mode)
        await sim.deliver()
        sim.wire.fault = None
        await sim.run(minutes=2)
        execution_id = f"job{place}.{due:%Y%m%dT%H%M%SZ}"
        where = f"{mode} at {place}: {fault.hit}"
        assert sim.script.times(execution_id, "one") == 0, where
        await say(sim, "running")
        await sim.run()
        assert sim.script.times(execution_id, "one") == 1, where
        await sim.assert_nothing_left()


async def test_a_run_of_a_job_that_is_deleted_before_it_is_held_is_skipped_with_the_reason(
    sim: Simulation,
) -> None:
    await announced(sim)
    await say(sim, "paused")
    await sim.drop_job("job")
    await sim.run(minutes=2)
    assert (await sim.read(SOON_ID))["message"] == "the job was deleted before its time came"
    await say(sim, "running")
    await sim.run()
    assert sim.script.ran == []
    await sim.assert_nothing_left()


async def test_a_change_of_the_job_of_a_held_run_does_not_lose_it(sim: Simulation) -> None:
    await announced(sim)
    await say(sim, "paused")
    await sim.run(minutes=3)
    later = (sim.clock.now() + timedelta(hours=1)).isoformat()
    patch = {"schedule": {"expression": later}}
    await sim.app.jobs.patch(ADMIN, ADMIN_PRINCIPAL, "job", patch, None)
    await sim.run(minutes=1)
    await say(sim, "running")
    await sim.run(minutes=2)
    assert sim.script.times(SOON_ID, "one") == 1
    await finish(sim, "job")
