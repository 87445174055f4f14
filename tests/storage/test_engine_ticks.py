"""The tick: what it announces and when, after an outage, twice at once, and for fast jobs."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from scheduler.errors import NotFound
from tests.storage.scripted import Ran
from tests.storage.simulation import START, Simulation
from tests.storage.wire import Mode

EVERY_MINUTE = {"type": "cron", "expression": "* * * * *"}
EVERY_TEN_MINUTES = {"type": "cron", "expression": "*/10 * * * *"}


def scheduled(ran: list[Ran]) -> list[str]:
    """The nominal times of what ran, as in the execution ids: `0230` for half past two."""
    return [one.execution_id.partition("T")[2][:4] for one in ran]


async def test_a_run_starts_in_its_very_second(sim: Simulation) -> None:
    schedule = {"type": "once", "expression": "2026-11-23T02:02:37Z"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.run()
    assert [one.at for one in sim.script.ran] == [START.replace(minute=2, second=37)]
    await sim.assert_nothing_left()


async def test_the_log_tells_by_how_much_a_run_started_after_its_instant(
    sim: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = {"type": "once", "expression": "2026-11-23T02:02:37Z"}
    await sim.create("job", {"id": "one"}, {"id": "two"}, schedule=schedule)
    await sim.run(START.replace(minute=2, second=30))
    await sim.be_down(seconds=15)
    with caplog.at_level("INFO", "scheduler"):
        await sim.run()
    started = [one for one in caplog.records if getattr(one, "action", "") == "execution_started"]
    assert [one.__dict__["lateness_seconds"] for one in started] == [8]


async def test_a_job_due_before_the_next_tick_is_announced_when_it_is_made(
    sim: Simulation,
) -> None:
    schedule = {"type": "once", "expression": "2026-11-23T02:00:15Z"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.run()
    assert [one.at for one in sim.script.ran] == [START.replace(second=15)]
    await sim.assert_nothing_left()


@pytest.mark.parametrize(
    ("catch_up", "made_up", "given_up"),
    [
        ("latest", ["0250"], "4 missed runs"),
        ("all", ["0210", "0220", "0230", "0240", "0250"], None),
        ("none", [], "5 missed runs"),
    ],
)
async def test_runs_missed_in_an_outage_are_made_up_for_by_the_policy(
    sim: Simulation, catch_up: str, made_up: list[str], given_up: str | None
) -> None:
    schedule = {**EVERY_TEN_MINUTES, "catch_up": catch_up, "overlap": "allow"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.be_down(minutes=55)
    await sim.run(minutes=7)
    assert sorted(scheduled(sim.script.ran)) == [*made_up, "0300"]
    listed = [one for one, state in await sim.listed() if state == "skipped"]
    assert len(listed) == (given_up is not None)
    for execution_id in listed:
        assert given_up is not None
        assert (await sim.read(execution_id))["message"].startswith(given_up)
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_runs_that_are_late_by_less_than_five_minutes_simply_run(sim: Simulation) -> None:
    schedule = {**EVERY_MINUTE, "catch_up": "none", "overlap": "allow"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.be_down(minutes=4)
    await sim.run(minutes=1)
    assert sorted(scheduled(sim.script.ran)) == ["0201", "0202", "0203", "0204", "0205"]
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_window_bounds_what_is_made_up_for(sim: Simulation) -> None:
    schedule = {**EVERY_TEN_MINUTES, "catch_up": "all", "catch_up_window_seconds": 1500}
    await sim.create("job", {"id": "one"}, schedule={**schedule, "overlap": "allow"})
    await sim.be_down(minutes=55)
    await sim.run(minutes=2)
    assert sorted(scheduled(sim.script.ran)) == ["0240", "0250"]
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


@pytest.mark.parametrize("together", [True, False], ids=["at once", "one after the other"])
async def test_two_ticks_start_no_run_twice(sim: Simulation, together: bool) -> None:
    for number in range(3):
        await sim.create(f"job{number}", {"id": "one"}, schedule=EVERY_MINUTE)
    sim.clock.move_to(START.replace(second=59))
    other = await sim.restart()
    for _ in range(2):
        if together:
            await asyncio.gather(sim.app.tick.run(), other.tick.run())
        else:
            await sim.app.tick.run()
            await other.tick.run()
        await sim.run(minutes=1)
    ids = [one.execution_id for one in sim.script.ran]
    assert len(ids) == len(set(ids)) == 6
    for number in range(3):
        await sim.drop_job(f"job{number}")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_tick_that_dies_before_it_moves_the_due_row_is_done_again(
    sim: Simulation,
) -> None:
    schedule = {"type": "once", "expression": "2026-11-23T02:02:30Z"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    fault = sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "Jobs batch")
    await sim.run()
    assert fault.hit
    assert [one.at for one in sim.script.ran] == [START.replace(minute=2, second=30)]
    await sim.assert_nothing_left()


async def test_a_job_of_each_second_is_announced_within_the_horizon(sim: Simulation) -> None:
    schedule = {"type": "interval", "expression": "1s", "overlap": "allow"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    sim.clock.advance(0.5)
    await sim.app.tick.run()
    instants = sorted(one.at for one in sim.wire.flying.values())
    assert instants[-1] - sim.clock.now() <= timedelta(seconds=125)
    assert len(instants) == 120


async def test_a_job_of_each_second_runs_each_second(sim: Simulation) -> None:
    schedule = {"type": "interval", "expression": "1s", "end_at": "2026-11-23T02:00:30Z"}
    await sim.create("job", {"id": "one"}, schedule={**schedule, "overlap": "allow"})
    await sim.run()
    lateness = [one.at - START for one in sim.script.ran]
    assert lateness == [timedelta(seconds=second) for second in range(1, 20)]
    await sim.assert_nothing_left()


async def test_a_schedule_that_cannot_be_computed_waits_an_hour_and_hinders_no_other(
    sim: Simulation,
) -> None:
    await sim.create("bad", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    await sim.create("good", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    await sim.spoil_schedule("bad")
    await sim.run(minutes=11)
    assert [one.execution_id for one in sim.script.ran] == ["good.20261123T021000Z"]
    body: dict[str, Any] = (await sim.app.jobs.read("bad")).body
    assert body["job"]["schedule_error"]


@pytest.mark.parametrize(
    ("catch_up", "outcome", "part"),
    [
        ("latest", "success", ""),
        ("all", "success", ""),
        ("none", "skipped", "given up, 400 s late (catch_up: none)"),
    ],
)
async def test_catch_up_decides_about_a_run_that_was_announced_and_came_to_start_too_late(
    sim: Simulation, catch_up: str, outcome: str, part: str
) -> None:
    schedule = {"type": "once", "expression": "2026-11-23T02:02:30Z", "catch_up": catch_up}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.run(START.replace(minute=1, second=20))
    await sim.be_down(seconds=470)
    await sim.run()
    body = await sim.read("job.20261123T020230Z")
    assert (body["status"], len(sim.script.ran)) == (outcome, int(outcome == "success"))
    assert part in body["message"]
    await sim.assert_nothing_left()


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_late_runs_start_in_the_order_of_their_instants(
    sim: Simulation, overlap: str
) -> None:
    schedule = {**EVERY_MINUTE, "catch_up": "all", "overlap": overlap}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.run(START.replace(minute=4))
    await sim.be_down(minutes=8)
    await sim.run(minutes=2)
    ran = scheduled(sim.script.ran)
    decided = [one for one in ran if one > "0206" and (overlap == "queue" or one < "0213")]
    assert decided == sorted(decided)
    assert len(ran) >= 12
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_run_that_is_not_coming_cannot_be_read(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    assert (await sim.read("job.20261123T021000Z"))["status"] == "pending"
    for unknown in ("job.20261123T020000Z", "job.20261123T021100Z", "job.20261123T021000Z.b1"):
        with pytest.raises(NotFound):
            await sim.read(unknown)
    await sim.run(START.replace(minute=9, second=50))
    assert (await sim.read("job.20261123T021000Z"))["status"] == "pending"
