"""What the scheduler asks of storage while nothing is due: a tick and an upkeep each minute."""

from datetime import timedelta
from zoneinfo import available_timezones

from benchmarks.bench import FAR_AWAY, Bench, Figures, fresh, ids, job_on
from scheduler.execution.upkeep.upkeep import THOROUGH_MINUTES
from tests.storage.counting import Cost
from tests.storage.seeding import store_jobs

CASES = ((0, 0), (1, 100), (6, 100), (24, 100), (24, 5_000))
"""Zones in use, and stored jobs; six of the zones are declared."""
MINUTES_AN_HOUR = 60
HEARTBEATS = 1
"""Transactions of an upkeep that finds nothing to do: it says that it ran."""
_PASSES = timedelta(minutes=11)
_MOST_CALLS = 20


async def measure() -> Figures:
    """Operations a minute and an hour, by zones in use and stored jobs.

    Raises:
        AssertionError: a query is not bounded, or upkeep does not come to rest.
    """
    rows: list[Figures] = []
    for zones, jobs in CASES:
        async with fresh() as bench:
            first = await _settle(bench, zones, jobs)
            tick, upkeeps = (await bench.tick()).cost, await _upkeeps(bench)
            bench.require_bounds()
        rows.append(_row(zones, jobs, tick, upkeeps, first))
        print(_line(rows[-1]))
    return {"cases": rows}


async def _settle(bench: Bench, zones: int, jobs: int) -> Cost:
    """Stores the jobs, and lets upkeep go through the due rows as after a change of zone data."""
    for timezone in _zones(bench, zones):
        await bench.app.dispatcher.open_zone(timezone)
    if jobs:
        await store_jobs(bench.app, job_on(FAR_AWAY), ids("far", jobs), whole=False)
    await bench.tick()
    before = bench.tally.cost()
    for _ in range(_MOST_CALLS):
        await bench.upkeep()
        bench.clock.advance(60)  # the totals have been counted the minute before
        cost = await bench.upkeep()
        bench.clock.advance(_PASSES.total_seconds())
        if cost.requests["Control batch"] <= HEARTBEATS:
            return bench.tally.cost() - before
    raise AssertionError("upkeep goes through the due rows without end")


async def _upkeeps(bench: Bench) -> list[Cost]:
    """As many upkeeps, minute by minute, as it takes until all has been looked at once."""
    costs = []
    for _ in range(THOROUGH_MINUTES):
        bench.clock.advance(60)
        costs.append(await bench.upkeep())
    return costs


def _zones(bench: Bench, count: int) -> list[str]:
    declared = list(bench.app.settings.timezones)
    others = [one for one in sorted(available_timezones()) if "/" in one and one not in declared]
    return [*declared, *others][:count]


def _row(zones: int, jobs: int, tick: Cost, upkeeps: list[Cost], first: Cost) -> Figures:
    *_, upkeep = sorted(upkeeps, key=lambda cost: -cost.operations)
    hours = MINUTES_AN_HOUR // len(upkeeps)
    return {
        "zones_in_use": zones,
        "stored": jobs,
        "tick_operations": tick.operations,
        "tick_requests": dict(sorted(tick.requests.items())),
        "upkeep_operations": upkeep.operations,
        "upkeep_requests": dict(sorted(upkeep.requests.items())),
        "rows": tick.rows + upkeep.rows,
        "operations_an_hour": MINUTES_AN_HOUR * tick.operations
        + hours * sum(cost.operations for cost in upkeeps),
        "zone_data_rows_once": first.rows,
    }


def _line(row: Figures) -> str:
    return (
        f"  {row['zones_in_use']} zones in use, {row['stored']:,} stored:"
        f" tick {row['tick_operations']}, upkeep {row['upkeep_operations']},"
        f" {row['rows']} rows; {row['operations_an_hour']:,} operations an hour"
    )
