"""A job paused, resumed, changed, deleted and made anew around the instants of its runs."""

from contextlib import suppress
from typing import Any

import pytest

from scheduler.errors import InvalidRequest, PreconditionFailed, StorageUnavailable
from scheduler.jobs.job_row import JobRow
from tests.storage.simulation import AUTHOR, CALLER, START, Simulation
from tests.storage.wire import Mode

EVERY_TEN_MINUTES = {"type": "cron", "expression": "*/10 * * * *"}
SOON = {"type": "once", "expression": "2026-11-23T02:02:30Z"}
SOON_ID = "job.20261123T020230Z"


async def pause(sim: Simulation, **body: Any) -> dict[str, Any]:  # noqa: ANN401
    return (await sim.app.jobs.pause(CALLER, AUTHOR, "job", body, None)).body


async def resume(sim: Simulation) -> dict[str, Any]:
    return (await sim.app.jobs.resume(CALLER, AUTHOR, "job", {}, None)).body


async def announced(sim: Simulation) -> None:
    """A job that is due at 02:02:30, its start already sent."""
    await sim.create("job", {"id": "one"}, schedule=SOON)
    await sim.run(START.replace(minute=1, second=20))


async def test_a_paused_job_says_why_and_a_resumed_one_no_longer(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    paused = await pause(sim, note="the database is down")
    assert (paused["job"]["enabled"], paused["job"]["note"]) == (False, "the database is down")
    assert paused["next_runs"] == []
    resumed = await resume(sim)
    assert (resumed["job"]["enabled"], resumed["job"]["note"]) == (True, None)
    assert resumed["next_runs"] != []


async def test_a_resumed_job_counts_from_now_whatever_its_catch_up(sim: Simulation) -> None:
    schedule = {**EVERY_TEN_MINUTES, "catch_up": "all", "overlap": "allow"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await pause(sim)
    await sim.run(minutes=34)
    await resume(sim)
    await sim.run(minutes=10)
    assert [one.execution_id for one in sim.script.ran] == ["job.20261123T024000Z"]
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_run_announced_before_a_pause_does_not_run_once_it_is_over(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    await sim.run(START.replace(minute=9))
    await pause(sim)
    await sim.be_down(minutes=1, seconds=20)  # the start of 02:10 is not handled yet
    await resume(sim)
    await sim.run(minutes=2)
    assert sim.script.ran == []
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_run_announced_before_a_short_pause_runs_once_when_its_time_comes_after_it(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    await sim.run(START.replace(minute=9))
    await pause(sim)
    await resume(sim)
    await sim.run(minutes=3)
    assert [one.execution_id for one in sim.script.ran] == ["job.20261123T021000Z"]
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_job_made_anew_does_not_run_what_the_old_one_of_its_id_announced(
    sim: Simulation,
) -> None:
    await announced(sim)
    await sim.drop_job("job")
    await sim.be_down(seconds=90)  # its start is visible, and not handled yet
    later = {**EVERY_TEN_MINUTES, "start_at": "2027-01-01T00:00:00Z"}
    await sim.create("job", {"id": "other"}, schedule=later)
    await sim.run(minutes=2)
    assert sim.script.ran == []
    assert "made anew" in (await sim.read(SOON_ID))["message"]
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


async def test_a_single_run_that_has_passed_cannot_be_resumed(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"}, schedule=SOON)
    await pause(sim)
    await sim.be_down(minutes=10)
    with pytest.raises(InvalidRequest, match="has passed"):
        await resume(sim)


async def test_a_single_run_in_the_past_is_refused_unless_it_is_asked_to_catch_up(
    sim: Simulation,
) -> None:
    past = {"type": "once", "expression": "2026-11-23T01:30:00Z"}
    for refused in (past, {**past, "catch_up": "none"}):
        with pytest.raises(InvalidRequest, match="has passed"):
            await sim.create("job", {"id": "one"}, schedule=refused)
    with pytest.raises(InvalidRequest, match="has passed"):
        too_old = {**past, "expression": "2026-11-23T00:30:00Z", "catch_up": "latest"}
        await sim.create("job", {"id": "one"}, schedule=too_old)
    await sim.create("job", {"id": "one"}, schedule={**past, "catch_up": "latest"})
    await sim.run()
    assert sim.script.times("job.20261123T013000Z", "one") == 1
    await sim.assert_nothing_left()


async def test_two_changes_that_meet_are_both_made(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)

    async def meanwhile() -> None:
        await sim.app.jobs.patch(CALLER, AUTHOR, "job", {"priority": 7}, None)

    sim.wire.before("Jobs batch", meanwhile)
    await pause(sim, note="x")
    row: JobRow = await sim.app.catalog.require("job")
    assert (row.enabled, row.priority) == (False, 7)


async def test_a_change_for_a_version_that_is_gone_is_refused(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    version = (await sim.app.jobs.read("job")).etag
    await pause(sim)
    with pytest.raises(PreconditionFailed):
        await sim.app.jobs.resume(CALLER, AUTHOR, "job", {}, version)


@pytest.mark.parametrize("body", [{"note": 5}, {"note": "x" * 1001}, {"why": "x"}, {"note": " "}])
async def test_a_pause_with_a_wrong_body_changes_nothing(
    sim: Simulation, body: dict[str, Any]
) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    with pytest.raises(InvalidRequest):
        await pause(sim, **body)
    assert (await sim.app.catalog.require("job")).enabled


@pytest.mark.parametrize("mode", [Mode.REFUSED, Mode.LOST])
async def test_a_pause_whose_request_fails_is_made_or_not_and_can_be_repeated(
    sim: Simulation, mode: Mode
) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    for place in range(1, 9):
        sim.wire.arm(place, mode)
        with suppress(StorageUnavailable):
            await pause(sim, note=str(place))
        sim.wire.fault = None
        await pause(sim, note=str(place))
        row = await sim.app.catalog.require("job")
        assert (row.enabled, row.note) == (False, str(place))
        assert await sim.app.catalog.next_run("job") is None
        await resume(sim)
        assert await sim.app.catalog.next_run("job") is not None
