"""A job changed or deleted within a tick, or a tick within a change, between any two requests."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest

from scheduler.dispatch.ids import scheduled_id, shard_of
from tests.storage.faults import SEED, Tried, fault_tests, places
from tests.storage.load import cron
from tests.storage.simulation import AUTHOR, CALLER, START, Simulation
from tests.storage.stored import clear_shard, disagreements, shard_rows

pytestmark = fault_tests
FULL_HOUR = START.replace(minute=0, second=0)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
AT = cron("1 * * * *", overlap="allow")
"""The schedule before the change: it runs a minute after the tick."""


@dataclass(frozen=True)
class Change:
    """A change of the job, made at the hour, and the runs that there have to be, in minutes after.

    `following`: the minutes after the hour of the next run.
    """

    name: str
    body: dict[str, Any] | None
    ran: tuple[int, ...] = ()
    following: int | None = None


CHANGES = (
    Change("steps", {"steps": [{"id": "two", "type": "scripted"}]}, (1,), 61),
    Change("policy", {"schedule": AT | {"catch_up": "all"}}, (1,), 61),
    Change("same instant", {"schedule": AT | {"expression": "1,31 * * * *"}}, (1,), 31),
    Change("zone", {"timezone": "Asia/Tokyo"}, (1,), 61),
    Change("later", {"schedule": AT | {"expression": "2 * * * *"}}, (2,), 62),
    Change("pause", {"enabled": False}),
    Change("delete", None),
)


async def make(sim: Simulation, change: Change, job_id: str) -> None:
    if change.body is None:
        await sim.drop_job(job_id)
    else:
        await sim.app.jobs.patch(CALLER, AUTHOR, job_id, change.body, None)


def on_the_way(kind: str) -> bool:
    """Whether a request is not one of the many queries of a tick that find nothing."""
    return kind not in ("Jobs query", "Control get", "tables create", "tz create")


async def check(sim: Simulation, change: Change, job_id: str, hour: datetime, where: str) -> None:
    rows = await shard_rows(sim, shard_of(job_id))
    assert disagreements(rows) == [], where
    due = [row.values["nominal"] for key, row in rows.items() if key.startswith("due:")]
    following = change.following
    assert due == ([] if following is None else [hour + following * MINUTE]), where
    query = sim.storage.executions.query(job_id, "r:", "r;")
    states = {str(row.values["execution_id"]): str(row.values["state"]) async for row in query}
    ran = sorted(one for one, state in states.items() if state == "success")
    assert ran == [scheduled_id(job_id, hour + one * MINUTE) for one in change.ran], where
    assert sorted(one.execution_id for one in sim.script.ran) == ran, where


@pytest.mark.parametrize("tick_within", [False, True], ids=["within a tick", "a tick within"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
async def test_a_change_and_a_tick_that_meet_lose_and_double_nothing(
    sim: Simulation, change: Change, tick_within: bool, tried: Tried
) -> None:
    other = sim.new_app()
    for number, at in enumerate(places(range(1 + SEED % 2, 20, 2)), 1):
        hour = FULL_HOUR + number * HOUR
        sim.clock.move_to(hour - 30 * MINUTE)
        job_id = await sim.create(f"job-{number}", {"id": "one"}, schedule=AT)
        await sim.be_down(seconds=(hour - sim.clock.now()).total_seconds())
        if tick_within:
            between = sim.wire.between(at, on_the_way, other.tick.run)
            await make(sim, change, job_id)
        else:
            between = sim.wire.between(at, on_the_way, partial(make, sim, change, job_id))
            await other.tick.run()
        sim.wire._between = None
        if between.hit is None:
            return
        await sim.run(hour + 4 * MINUTE)
        await check(sim, change, job_id, hour, f"before {at}: {between.hit}")
        await clear_shard(sim, shard_of(job_id))
        await sim.assert_nothing_left()
        sim.job_ids.clear()
        sim.script.ran.clear()
        tried()
