"""The tick among rows that are bad, zones that fail, and starts that jitter moves far away."""

from datetime import timedelta
from itertools import count

import pytest

from scheduler.dispatch.dispatcher import MAX_HIDDEN_SECONDS
from scheduler.dispatch.ids import scheduled_id, shard_of
from scheduler.errors import StorageUnavailable
from scheduler.schedule.triggers import jittered
from scheduler.storage.keys import sortable
from scheduler.storage.tables import Row, Upsert
from tests.storage.scripted import fails
from tests.storage.simulation import AUTHOR, CALLER, START, Simulation
from tests.storage.wire import Mode

SOON = {"type": "once", "expression": "2026-11-23T02:03:00Z"}
EVERY_MINUTE = {"type": "cron", "expression": "* * * * *"}
FROM_FIVE = {**EVERY_MINUTE, "start_at": "2026-11-23T02:05:00Z"}
HOUR = timedelta(hours=1)


def neighbor(job_id: str) -> str:
    """Another job's id of the same shard."""
    ids = (f"{job_id}{number}" for number in count())
    return next(one for one in ids if shard_of(one) == shard_of(job_id))


async def due_row(sim: Simulation, job_id: str) -> Row:
    rows = sim.storage.jobs.query(shard_of(job_id), "due:", "due;")
    (row,) = [row async for row in rows if row.key.endswith(f":{job_id}")]
    return row


async def test_jitter_beyond_what_a_message_may_hide_delays_each_run_and_loses_none(
    sim: Simulation,
) -> None:
    jitter = 400
    schedule = {**EVERY_MINUTE, "jitter_seconds": jitter, "overlap": "allow"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    longest = 0.0
    for _ in range(10):
        await sim.run(minutes=1)
        hidden = [(one.at - sim.clock.now()).total_seconds() for one in sim.wire.flying.values()]
        longest = max([longest, *hidden])
    assert longest <= MAX_HIDDEN_SECONDS
    began = {one.execution_id: one.at for one in sim.script.ran}
    assert len(began) == len(sim.script.ran)
    nominals = [START.replace(second=0) + timedelta(minutes=n) for n in range(1, 11)]
    due = [
        (run, jittered(one, run, jitter)) for one in nominals for run in [scheduled_id("job", one)]
    ]
    passed = {str(run): at for run, at in due if at <= sim.clock.now()}
    assert len(passed) > 3
    assert began.keys() == passed.keys()
    for run, at in began.items():
        assert timedelta(0) <= at - passed[run] <= timedelta(seconds=1)


@pytest.mark.parametrize(
    "spoiled",
    [{"timezone": "Mars/Olympus_Mons"}, {"schedule": '{"type": "cr'}, {"schedule": "{}"}],
    ids=["unknown zone", "broken JSON", "no type"],
)
async def test_a_bad_due_row_waits_an_hour_says_so_and_hinders_no_other_of_its_shard(
    sim: Simulation, spoiled: dict[str, str]
) -> None:
    good = neighbor("bad")
    for job_id in ("bad", good):
        await sim.create(job_id, {"id": "one"}, schedule=FROM_FIVE)
    row = await due_row(sim, "bad")
    await sim.storage.jobs.commit(row.partition, [Upsert(row.key, spoiled)])
    ticked = START.replace(minute=4, second=0)
    await sim.run(START.replace(minute=6, second=5))
    assert [one.execution_id for one in sim.script.ran] == [
        scheduled_id(good, ticked + timedelta(minutes=minute)) for minute in (1, 2)
    ]
    assert (await due_row(sim, "bad")).key == f"due:{sortable(ticked + HOUR)}:bad"
    assert (await sim.app.jobs.read("bad")).body["job"]["schedule_error"]
    later = {"schedule": {"type": "once", "expression": "2026-11-23T02:09:00Z"}}
    await sim.app.jobs.patch(CALLER, AUTHOR, "bad", later, None)
    assert "schedule_error" not in (await sim.app.jobs.read("bad")).body["job"]
    await sim.drop_job(good)
    await sim.run()
    assert sim.script.ran[-1].execution_id == "bad.20261123T020900Z"
    await sim.assert_nothing_left()


async def test_a_job_whose_due_row_is_bad_can_be_changed_before_a_tick_has_seen_it(
    sim: Simulation,
) -> None:
    await sim.create("bad", {"id": "one"}, schedule=FROM_FIVE)
    row = await due_row(sim, "bad")
    await sim.storage.jobs.commit(row.partition, [Upsert(row.key, {"schedule": "{}"})])
    await sim.be_down(minutes=6)
    later = {"schedule": {"type": "once", "expression": "2026-11-23T02:09:00Z"}}
    await sim.app.jobs.patch(CALLER, AUTHOR, "bad", later, None)
    await sim.run()
    assert [one.execution_id for one in sim.script.ran] == ["bad.20261123T020900Z"]
    await sim.assert_nothing_left()


async def test_a_bad_wake_row_goes_to_poison_and_hinders_no_other_of_its_shard(
    sim: Simulation,
) -> None:
    sim.script.acts["one"] = [fails(retry_after=300)]
    execution_id = await sim.execute("job", {"id": "one", "max_retries": 1})
    await sim.deliver()
    shard, at = shard_of("job"), sortable(START + timedelta(seconds=200))
    for place, text in enumerate(("garbage", '{"v":1,"kind":"step"}')):
        row = Upsert(f"wake:{at}:a.{place}:one", {"v": 1, "timezone": "UTC", "message": text})
        await sim.storage.jobs.commit(shard, [row])
    await sim.storage.jobs.commit(shard, [Upsert("wake:1:b:one", {"v": 1})])
    await sim.run()
    assert (await sim.read(execution_id))["status"] == "success"
    first, second = (one.at for one in sim.script.ran)
    assert second - first <= timedelta(seconds=301)
    assert sorted(await sim.poisoned()) == ["", "garbage", '{"v":1,"kind":"step"}']
    await sim.assert_nothing_left()


async def test_a_zone_whose_rows_cannot_be_written_does_not_hold_up_the_others(
    sim: Simulation,
) -> None:
    jobs = {"utc": "UTC", "tokyo": "Asia/Tokyo"}
    for job_id, zone in jobs.items():
        await sim.create(job_id, {"id": "one"}, schedule=SOON, timezone=zone)
    sim.clock.advance(60)
    fault = sim.wire.arm(1, Mode.REFUSED, lambda kind: kind == "Zones batch")
    with pytest.raises(StorageUnavailable):
        await sim.app.tick.run()
    assert fault.hit
    assert len(sim.wire.flying) == 1
    planned = [await sim.app.catalog.next_run(job_id) for job_id in jobs]
    assert sorted(one is None for one in planned) == [False, True]
    await sim.run()
    assert sorted(one.execution_id.partition(".")[0] for one in sim.script.ran) == sorted(jobs)
    assert {one.at for one in sim.script.ran} == {START.replace(minute=3, second=0)}
    await sim.assert_nothing_left()


@pytest.mark.parametrize(
    "change",
    [
        {"schedule": {"type": "once", "expression": "2026-11-23T05:00:00Z"}},
        {"timezone": "Asia/Tokyo"},
        {"schedule": None},
    ],
    ids=["schedule", "zone", "no schedule"],
)
async def test_a_change_loses_no_run_that_is_overdue_because_the_tick_is_late(
    sim: Simulation, change: dict[str, object]
) -> None:
    schedule = {"type": "cron", "expression": "3 * * * *"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.be_down(minutes=4)
    await sim.app.jobs.patch(CALLER, AUTHOR, "job", change, None)
    await sim.run(minutes=2)
    assert [one.execution_id for one in sim.script.ran] == ["job.20261123T020300Z"]
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


@pytest.mark.parametrize("mode", [Mode.LOST, Mode.DROPPED])
async def test_a_job_that_was_stored_with_a_lost_reply_is_announced_at_once(
    sim: Simulation, mode: Mode
) -> None:
    await sim.create("first", {"id": "one"})
    schedule = {"type": "once", "expression": "2026-11-23T02:00:20Z"}
    fault = sim.wire.arm(1, mode, lambda kind: kind == "Jobs batch")
    await sim.create("job", {"id": "one"}, schedule=schedule)
    assert fault.hit
    fault = sim.wire.arm(1, mode, lambda kind: kind == "Jobs batch")
    sooner = {"schedule": {**schedule, "expression": "2026-11-23T02:00:15Z"}}
    await sim.app.jobs.patch(CALLER, AUTHOR, "job", sooner, None)
    assert fault.hit
    await sim.run()
    assert [one.at for one in sim.script.ran] == [START.replace(second=15)]
    await sim.assert_nothing_left()


@pytest.mark.parametrize("mode", [Mode.LOST, Mode.DROPPED])
async def test_a_deletion_whose_reply_was_lost_is_a_success_and_counts_once(
    sim: Simulation, mode: Mode
) -> None:
    for job_id in ("one", "other"):
        await sim.create(job_id, {"id": "one"}, schedule=EVERY_MINUTE)
    fault = sim.wire.arm(1, mode, lambda kind: kind == "Jobs batch")
    await sim.drop_job("one")
    assert fault.hit
    assert await sim.app.catalog.find("one") is None
    assert await sim.app.catalog.next_run("one") is None
    assert await sim.app.catalog.total() == 1
