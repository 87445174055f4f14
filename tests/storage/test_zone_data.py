"""New zone data: every due row is derived again, and no run of it is lost or doubled."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.dispatch.ids import shard_of
from scheduler.jobs.due import Due, due_of
from scheduler.schedule import zone_data
from scheduler.schedule.due_rows import DueRow, move_changes
from scheduler.schedule.zones import tzdata_version
from scheduler.storage.tables import Upsert, Value
from tests.storage.simulation import START, Simulation

NOON = {"type": "cron", "expression": "0 12 * * *"}
RIGHT = datetime(2026, 11, 23, 3, tzinfo=UTC)
"""Noon in Tokyo."""


async def due_row(sim: Simulation, job_id: str) -> DueRow:
    planned = await sim.app.catalog.next_run(job_id)
    assert planned is not None
    row = await sim.storage.jobs.get(shard_of(job_id), planned.due_key)
    assert row is not None
    return DueRow(due_of(row), row.etag)


async def derived_by_other_data(
    sim: Simulation, nominal: datetime, *, version: str = "2000a", job_id: str = "job"
) -> None:
    """A job at noon in Tokyo whose due row was made with zone data by which noon is elsewhere."""
    await sim.create(job_id, {"id": "one"}, schedule=NOON, timezone="Asia/Tokyo")
    row = await due_row(sim, job_id)
    wrong = Due(
        job_id=row.due.job_id,
        timezone=row.due.timezone,
        schedule=row.due.schedule,
        revision=row.due.revision,
        nominal=nominal,
        at=nominal,
        tzdata=version,
        since=row.due.since,
    )
    await sim.storage.jobs.commit(shard_of(job_id), move_changes(row, wrong))


async def upkeep_for(sim: Simulation, minutes: int) -> None:
    for _ in range(minutes):
        sim.clock.advance(60)
        await sim.app.run_upkeep()


async def test_upkeep_derives_a_row_of_older_data_again(sim: Simulation) -> None:
    await derived_by_other_data(sim, RIGHT + timedelta(hours=1))
    await sim.app.run_upkeep()
    due = (await due_row(sim, "job")).due
    assert (due.nominal, due.tzdata) == (RIGHT, tzdata_version())


async def test_a_row_that_falls_due_before_upkeep_sees_it_is_derived_again_by_the_tick(
    sim: Simulation,
) -> None:
    await derived_by_other_data(sim, START + timedelta(minutes=1))
    await sim.app.tick.run()
    assert (await due_row(sim, "job")).due.nominal == RIGHT
    await sim.run(START + timedelta(minutes=3))
    assert sim.script.ran == []


async def test_a_run_that_by_the_new_data_was_due_already_is_not_lost(sim: Simulation) -> None:
    await derived_by_other_data(sim, RIGHT + timedelta(hours=1))
    await sim.be_down(minutes=62)
    await sim.app.run_upkeep()
    await sim.run(minutes=2)
    assert [one.execution_id for one in sim.script.ran] == ["job.20261123T030000Z"]


async def test_an_instance_with_old_data_leaves_what_new_data_made(sim: Simulation) -> None:
    await derived_by_other_data(sim, RIGHT + timedelta(hours=1), version="9999z")
    await sim.app.run_upkeep()
    assert (await due_row(sim, "job")).due.tzdata == "9999z"


async def test_a_pass_goes_on_where_the_last_call_stopped(
    sim: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zone_data, "ROWS_A_CALL", 2)
    jobs = [f"job{number}" for number in range(7)]
    for job_id in jobs:
        await derived_by_other_data(sim, RIGHT + timedelta(hours=1), job_id=job_id)
    fresh: list[int] = []
    for _ in range(4):
        await sim.app.run_upkeep()
        dues = [(await due_row(sim, job_id)).due for job_id in jobs]
        fresh.append(sum(due.nominal == RIGHT for due in dues))
    assert fresh == [2, 4, 6, 7]


async def test_once_no_old_row_is_left_for_ten_minutes_upkeep_looks_no_more(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"}, schedule=NOON)
    await upkeep_for(sim, 13)
    sim.wire.counts.clear()
    await upkeep_for(sim, 1)
    assert "Jobs query" not in sim.wire.counts


async def test_a_row_that_an_old_instance_made_meanwhile_is_found_by_a_later_pass(
    sim: Simulation,
) -> None:
    await upkeep_for(sim, 5)
    await derived_by_other_data(sim, RIGHT + timedelta(hours=1))
    await upkeep_for(sim, 8)
    assert (await due_row(sim, "job")).due.nominal == RIGHT


async def test_a_row_that_cannot_be_read_holds_up_no_other(sim: Simulation) -> None:
    await derived_by_other_data(sim, RIGHT + timedelta(hours=1))
    broken: Mapping[str, Value] = {"v": 1, "schedule": "nonsense"}
    shard = shard_of("job")
    await sim.storage.jobs.commit(shard, [Upsert("due:20261123T025900.000000Z:bad", dict(broken))])
    await sim.app.run_upkeep()
    assert (await due_row(sim, "job")).due.nominal == RIGHT
