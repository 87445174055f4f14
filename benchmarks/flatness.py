"""Does a tick cost more when more jobs are stored? 0 and 100 due among 100, 10,000, 100,000.

The 100 are stored whole; of the others the due row alone, since a tick reads no other.
"""

from datetime import timedelta
from math import log

from benchmarks.bench import FAR_AWAY, HOURLY, Bench, Figures, Measured, fresh, ids, job_on
from tests.storage.seeding import store_jobs

STORED = (100, 10_000, 100_000)
DUE = 100
HOUR = timedelta(hours=1)


async def measure() -> Figures:
    """Operations, rows and seconds of a tick by the number of stored jobs.

    Raises:
        AssertionError: they differ, or a query is not bounded.
    """
    rows: list[Figures] = []
    async with fresh() as bench:
        await store_jobs(bench.app, job_on(HOURLY), ids("due", DUE))
        await bench.tick()
        stored = DUE
        for size in STORED:
            stored = await _fill(bench, stored, size)
            idle = await bench.tick()
            bench.clock.move_to(bench.clock.now().replace(minute=58, second=30))
            due = await bench.tick()
            bench.clock.move_to(bench.clock.now().replace(minute=10) + HOUR)
            rows.append(_row(size, idle, due))
            print(_line(rows[-1]))
        bench.require_bounds()
    figures: Figures = {"ticks": rows, "exponent": _exponents(rows[0], rows[-1])}
    print(f"  growth exponents from {STORED[0]:,} to {STORED[-1]:,}: {figures['exponent']}")
    return figures


async def _fill(bench: Bench, stored: int, size: int) -> int:
    more = [f"far-{number}" for number in range(stored, size)]
    if more:
        await store_jobs(bench.app, job_on(FAR_AWAY), more, whole=False)
    return size


def _row(size: int, idle: Measured, due: Measured) -> Figures:
    return {
        "stored": size,
        "idle_operations": idle.cost.operations,
        "idle_rows": idle.cost.rows,
        "idle_seconds": round(idle.seconds, 3),
        "due": DUE,
        "due_operations": due.cost.operations,
        "due_rows": due.cost.rows,
        "due_seconds": round(due.seconds, 3),
        "due_requests": dict(sorted(due.cost.requests.items())),
    }


def _line(row: Figures) -> str:
    return (
        f"  {row['stored']:>7,} stored: nothing due {row['idle_operations']} operations,"
        f" {row['idle_rows']} rows, {row['idle_seconds']:.2f} s; {row['due']} due"
        f" {row['due_operations']} operations, {row['due_rows']} rows, {row['due_seconds']:.2f} s"
    )


def _exponents(small: Figures, large: Figures) -> dict[str, float]:
    """The power of the number of stored jobs by which each figure grows; 0 is flat."""
    growth = log(large["stored"] / small["stored"])
    counted = ("idle_operations", "idle_rows", "due_operations", "due_rows")
    for name in counted:
        if large[name] != small[name]:
            raise AssertionError(f"{name} grew from {small[name]} to {large[name]}")
    names = (*counted, "idle_seconds", "due_seconds")
    return {name: round(log(large[name] / small[name]) / growth, 3) for name in names}
