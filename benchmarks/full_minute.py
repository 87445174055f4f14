"""A very full minute: 1,000 and 5,000 runs of a zone due at one instant, against the raw floor.

Due rows alone are stored: a tick reads no other row of a job.
"""

from datetime import datetime, timedelta
from statistics import median

from benchmarks.bench import HOURLY, START, Bench, Figures, Measured, fresh, ids, job_on
from benchmarks.floor import Floor, floor
from tests.storage.seeding import store_jobs

DECLARED = "UTC"
UNDECLARED = "Asia/Dubai"
DELAY_SECONDS = 0.02
MOST_OPERATIONS = 1.1
PAIRS = 3
MINUTE_SECONDS = 60
HOUR = timedelta(hours=1)
FIRST = START.replace(minute=58, second=30)


async def measure() -> Figures:
    """Operations for each due job, seconds, and the ratio to the floor.

    Raises:
        AssertionError: a run was left out, or a query is not bounded.
    """
    figures: Figures = {"target_operations_per_due": MOST_OPERATIONS}
    for due, timezone, pairs in ((1_000, DECLARED, PAIRS), (1_000, UNDECLARED, PAIRS)):
        async with fresh() as bench:
            await _store(bench, due, timezone)
            name = f"{due}_{'declared' if timezone == DECLARED else 'undeclared'}"
            figures[name] = await _pairs(bench, due, timezone, pairs)
    async with fresh() as bench:
        await _store(bench, 5_000, DECLARED)
        figures["5000_declared"] = await _pairs(bench, 5_000, DECLARED, 1)
        bench.delay_requests(DELAY_SECONDS)
        late = await _tick(bench, FIRST + HOUR, DECLARED, 2 * 5_000)
        figures["5000_delayed"] = _figures(5_000, [late], [])
        print(_line(f"5,000 due, each request {DELAY_SECONDS * 1000:.0f} ms late", late, 5_000))
    return figures


async def _store(bench: Bench, due: int, timezone: str) -> None:
    await store_jobs(bench.app, job_on(HOURLY, timezone), ids("due", due), whole=False)
    await bench.tick()


async def _pairs(bench: Bench, due: int, timezone: str, pairs: int) -> Figures:
    """Ticks and floors by turns, each tick an hour after the one before."""
    ticks: list[Measured] = []
    floors: list[Floor] = []
    for number in range(pairs):
        count = due * (number + 1)
        ticks.append(await _tick(bench, FIRST + number * HOUR, timezone, count))
        floors.append(await floor(bench, due, f"floor{number}"))
        print(_line(f"{due:,} due in {timezone}", ticks[-1], due))
    bench.require_bounds()
    figures = _figures(due, ticks, floors)
    print(
        f"    against the floor: {figures['floor_ratio']:.2f} times its time,"
        f" {figures['floor_cpu_ratio']:.2f} times its processor time"
    )
    return figures


async def _tick(bench: Bench, at: datetime, timezone: str, count: int) -> Measured:
    """One tick; afterwards the zone's queue holds so many starts, all of them sent."""
    bench.clock.move_to(at)
    measured = await bench.tick()
    sent = await bench.app.storage.queues.length(bench.app.dispatcher.queue_of(timezone))
    if sent != count:
        raise AssertionError(f"{sent} of {count} starts were sent")
    return measured


def _figures(due: int, ticks: list[Measured], floors: list[Floor]) -> Figures:
    cost = ticks[0].cost
    pairs = list(zip(ticks, floors, strict=True)) if floors else []
    return {
        "due": due,
        "operations": cost.operations,
        "operations_per_due": round(cost.operations / due, 4),
        "rows": cost.rows,
        "requests": dict(sorted(cost.requests.items())),
        "seconds": [round(one.seconds, 2) for one in ticks],
        "cpu_seconds": [round(one.cpu_seconds, 2) for one in ticks],
        "within_the_minute": median(one.seconds for one in ticks) < MINUTE_SECONDS,
        "floor_seconds": [round(one.seconds, 2) for one in floors],
        "floor_ratio": _ratio([tick.seconds / base.seconds for tick, base in pairs]),
        "floor_cpu_ratio": _ratio([tick.cpu_seconds / base.cpu_seconds for tick, base in pairs]),
    }


def _ratio(ratios: list[float]) -> float | None:
    return round(median(ratios), 2) if ratios else None


def _line(what: str, tick: Measured, due: int) -> str:
    return (
        f"  {what}: {tick.cost.operations:,} operations,"
        f" {tick.cost.operations / due:.3f} for each, {tick.seconds:.1f} s,"
        f" {tick.cpu_seconds:.1f} s of processor time"
    )
