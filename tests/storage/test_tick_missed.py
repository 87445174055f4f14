"""Ticks that were missed for minutes, hours, days: what runs, and what is given up, by policy."""

from datetime import datetime, timedelta
from itertools import product

import pytest

from tests.storage.load import Expected, cron
from tests.storage.simulation import START, Simulation

FULL_HOUR = START.replace(minute=0, second=0)
LATE = timedelta(minutes=5)
"""A run is missed when it is later than this."""
MOST = 100
"""As many are made up for at most."""
POLICIES = ("latest", "all", "none")
WINDOWS = (0, 3_600, 604_800)
"""In seconds: less than what is late, the default, the longest."""
PERIOD = timedelta(minutes=30)


def runs_until(after: datetime, until: datetime) -> list[datetime]:
    """The instants of each half hour with after < instant ≤ until."""
    number = int((until - FULL_HOUR) / PERIOD)
    every = [FULL_HOUR + place * PERIOD for place in range(number + 1)]
    return [one for one in every if after < one <= until]


def expected(made: datetime, tick: datetime, policy: str, window: int) -> Expected:
    """What is to come of a job that was made then and first seen by a tick now."""
    runs = runs_until(made, tick)
    missed = [one for one in runs if tick - one > LATE]
    recent = [one for one in missed if tick - one <= timedelta(seconds=window)]
    made_up = {"latest": recent[-1:], "all": recent[-MOST:], "none": []}[policy]
    given_up = [one for one in missed if one not in made_up]
    schedule = cron(
        "*/30 * * * *", overlap="allow", catch_up=policy, catch_up_window_seconds=window
    )
    return Expected(
        f"{policy}-{window}",
        {"schedule": schedule},
        runs=(*made_up, *runs[len(missed) :]),
        given_up=(given_up[-1], len(given_up)) if given_up else None,
    )


@pytest.mark.parametrize(
    "down",
    [timedelta(minutes=3), timedelta(hours=3), timedelta(days=3)],
    ids=["3 minutes", "3 hours", "3 days"],
)
async def test_after_missed_ticks_each_run_is_started_or_counted_as_the_policy_has_it(
    sim: Simulation, down: timedelta
) -> None:
    made = FULL_HOUR + timedelta(minutes=28)
    tick = made + down
    sim.clock.move_to(made)
    jobs = [expected(made, tick, *cell) for cell in product(POLICIES, WINDOWS)]
    for job in jobs:
        await sim.create(job.job_id, {"id": "one"}, **job.fields)
    await sim.be_down(seconds=down.total_seconds())
    await sim.app.run_tick()
    await sim.run(tick + timedelta(seconds=90))
    for job in jobs:
        await check(sim, job)
        await sim.drop_job(job.job_id)
    await sim.run()
    await sim.assert_nothing_left()


async def check(sim: Simulation, job: Expected) -> None:
    """Exactly the expected runs are there, and one skip record, with its count, or none."""
    query = sim.storage.executions.query(job.job_id, "r:", "r;")
    rows = {str(row.values["execution_id"]): row.values async for row in query}
    assert {one: row["state"] for one, row in rows.items()} == job.states(), job.job_id
    if job.given_up is not None:
        message = str(rows[job.execution_id(job.given_up[0])]["message"])
        assert message.startswith(f"{job.given_up[1]} missed run"), message
    ran = [one.execution_id for one in sim.script.ran if one.execution_id in rows]
    assert sorted(ran) == sorted(job.starts()), job.job_id
