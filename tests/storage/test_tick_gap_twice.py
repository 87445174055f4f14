"""A gap is counted once, though the tick that found it died and a later one finds it larger.

Every instant of the outage is accounted for once: it ran, or is in the count of the skip record.
"""

import re
from contextlib import suppress
from datetime import datetime, timedelta

import pytest

from tests.storage.faults import Tried, fault_tests, places
from tests.storage.simulation import START, Simulation
from tests.storage.wire import Killed, Mode

pytestmark = fault_tests
MINUTE = timedelta(minutes=1)


def nine_minutes(tick: datetime, catch_up: str) -> dict[str, str]:
    """A schedule of each minute from eight minutes before a tick to the tick itself."""
    return {
        "type": "cron",
        "expression": "* * * * *",
        "catch_up": catch_up,
        "overlap": "allow",
        "start_at": (tick - 8 * MINUTE).isoformat(),
        "end_at": (tick + timedelta(seconds=30)).isoformat(),
    }


async def accounts(sim: Simulation, job_id: str) -> tuple[int, list[int]]:
    """How many runs of a job succeeded, and the counts of its skip records."""
    ran, given_up = 0, []
    async for row in sim.storage.executions.query(job_id, "r:", "r;"):
        found = re.match(r"(\d+) missed runs", str(row.values.get("message") or ""))
        if row.values["state"] == "success":
            ran += 1
        elif found:
            given_up.append(int(found[1]))
    return ran, given_up


def on_the_way(kind: str) -> bool:
    return kind not in ("Jobs query", "Control get")


@pytest.mark.parametrize("catch_up", ["latest", "none"])
@pytest.mark.parametrize("mode", [Mode.KILLED_BEFORE, Mode.KILLED_AFTER])
async def test_each_instant_of_a_gap_is_accounted_for_once_though_the_tick_died(
    sim: Simulation, mode: Mode, catch_up: str, tried: Tried
) -> None:
    for number, at in enumerate(places(range(2, 12, 3)), 1):
        tick = START.replace(minute=0, second=0) + number * timedelta(hours=1)
        sim.clock.move_to(tick - 10 * MINUTE - timedelta(seconds=30))
        job_id = await sim.create(
            f"{mode}-{catch_up}-{at}", {"id": "one"}, schedule=nine_minutes(tick, catch_up)
        )
        await sim.be_down(seconds=(tick - sim.clock.now()).total_seconds())
        fault = sim.wire.arm(at, mode, on_the_way)
        with suppress(Killed):
            await sim.app.run_tick()
        await sim.wire.quiet()
        sim.wire.fault = None
        if fault.hit is None:
            return
        await sim.kill()
        await sim.run()
        ran, given_up = await accounts(sim, job_id)
        assert (ran + sum(given_up), len(given_up)) == (9, 1), f"{mode} at {at}: {fault.hit}"
        sim.job_ids.clear()
        tried()
