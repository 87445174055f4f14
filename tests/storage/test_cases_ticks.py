"""A tick that dies among hundreds of due jobs, and nights on which the clock changes."""

import re
from base64 import b64decode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.dispatch.messages import decode
from scheduler.jobs.model import Job, JobId, Schedule, ScheduleType
from scheduler.storage.values import instant
from tests.storage.seeding import store_jobs
from tests.storage.simulation import START, Simulation
from tests.storage.stored import disagreements, shard_rows
from tests.storage.wire import Killed, Mode

DUE = START.replace(hour=3, minute=0, second=0)
JOBS = 220
"""As many as make three transactions of announcements."""


async def announced(sim: Simulation) -> list[str]:
    """The ids of the runs that have a `run:` row."""
    queue = sim.app.dispatcher.queue_of("UTC")
    rows = sim.storage.zones.query(queue, "run:", "run;")
    return sorted([row.key.removeprefix("run:") async for row in rows])


def starts_of(sim: Simulation) -> set[str]:
    """The ids of the runs whose start is sent from now on."""
    sent: set[str] = set()

    async def requested(kind: str, request: Any) -> None:  # noqa: ANN401
        if kind == "tz send":
            text = re.search(r"<MessageText>(.+?)</MessageText>", str(request.data))
            assert text is not None
            sent.add(str(decode(b64decode(text[1]).decode()).execution_id))

    sim.wire.watcher = requested
    return sent


async def nominals(sim: Simulation) -> list[datetime]:
    """The instants for which the jobs are due next."""
    instants = []
    for shard in "0123456789abcdef":
        rows = await shard_rows(sim, shard)
        assert disagreements(rows) == []
        due = [row for key, row in rows.items() if key.startswith("due:")]
        instants += [instant(row.values["nominal"]) for row in due]
    return instants


@pytest.mark.parametrize(
    ("at", "kind", "mode"),
    [
        (2, "Zones batch", Mode.KILLED_AFTER),
        (155, "tz send", Mode.KILLED_BEFORE),
        (3, "Jobs batch", Mode.KILLED_BEFORE),
    ],
    ids=["among the announcements", "among the starts", "as it moved on"],
)
async def test_of_hundreds_due_at_once_the_next_tick_announces_what_one_that_died_left(
    sim: Simulation, at: int, kind: str, mode: Mode
) -> None:
    schedule = Schedule(type=ScheduleType.CRON, expression="0 3 * * *")
    job = Job(id=JobId("job"), name="job", timezone="UTC", schedule=schedule)
    ids = [f"job-{number}" for number in range(JOBS)]
    await store_jobs(sim.app, job, ids)
    await sim.be_down(seconds=(DUE - sim.clock.now()).total_seconds() - 90)
    sent = starts_of(sim)
    fault = sim.wire.arm(at, mode, lambda one: one == kind)
    with pytest.raises(Killed):
        await sim.app.run_tick()
    await sim.replace_if_dead()
    assert fault.hit
    assert {nominal.day for nominal in await nominals(sim)} >= {DUE.day}
    await sim.be_down(seconds=60)
    await sim.app.run_tick()
    runs = [f"{one}.{DUE:%Y%m%dT%H%M%SZ}" for one in ids]
    assert await announced(sim) == sorted(runs)
    assert sent == set(runs)
    assert await nominals(sim) == [DUE + timedelta(days=1)] * JOBS


@dataclass(frozen=True)
class Night:
    """What a schedule does about a change of the clock: the instants, in UTC, around which nothing
    must be missed or be too much, and those at which it runs."""

    timezone: str
    expression: str
    looks: tuple[str, ...]
    runs: tuple[str, ...]


NIGHTS = {
    "a time in the gap runs once, right after it": Night(
        "Europe/Berlin",
        "30 2 * * *",
        ("2027-03-27T01:30", "2027-03-28T00:30", "2027-03-28T01:00", "2027-03-29T00:30"),
        ("2027-03-27T01:30", "2027-03-28T01:00", "2027-03-29T00:30"),
    ),
    "a time that comes twice runs the first time": Night(
        "Europe/Berlin",
        "30 2 * * *",
        ("2027-10-30T00:30", "2027-10-31T00:30", "2027-10-31T01:30", "2027-11-01T01:30"),
        ("2027-10-30T00:30", "2027-10-31T00:30", "2027-11-01T01:30"),
    ),
    "each half hour runs in both passes": Night(
        "America/New_York",
        "*/30 * * * *",
        ("2027-11-07T05:30", "2027-11-07T06:00", "2027-11-07T06:30", "2027-11-07T07:00"),
        ("2027-11-07T05:30", "2027-11-07T06:00", "2027-11-07T06:30", "2027-11-07T07:00"),
    ),
    "a leap day comes every four years": Night(
        "UTC",
        "0 12 29 2 *",
        ("2027-02-28T12:00", "2027-03-01T12:00", "2028-02-29T12:00", "2029-03-01T12:00"),
        ("2028-02-29T12:00",),
    ),
}


@pytest.mark.parametrize("name", NIGHTS)
async def test_through_a_change_of_the_clock(sim: Simulation, name: str) -> None:
    night = NIGHTS[name]
    looks = [datetime.fromisoformat(one).replace(tzinfo=UTC) for one in night.looks]
    sim.clock.move_to(looks[0] - timedelta(minutes=20))
    schedule = {"type": "cron", "expression": night.expression, "catch_up": "none"}
    await sim.create("job", {"id": "one"}, timezone=night.timezone, schedule=schedule)
    every_day = {**schedule, "expression": f"{looks[0]:%M %H} * * *"}
    await sim.create("elsewhere", {"id": "other"}, schedule=every_day)
    for look in looks:
        before = look - timedelta(minutes=4)
        await sim.be_down(seconds=max(0, (before - sim.clock.now()).total_seconds()))
        await sim.run(look + timedelta(minutes=1))
    runs = [datetime.fromisoformat(one).replace(tzinfo=UTC) for one in night.runs]
    assert [one.at for one in sim.script.ran if one.step == "one"] == runs
    same_time = [look for look in looks if look.time() == looks[0].time()]
    assert [one.at for one in sim.script.ran if one.step == "other"] == same_time
    for job_id in ("job", "elsewhere"):
        await sim.drop_job(job_id)
    await sim.run()
    await sim.assert_nothing_left()
