"""A very full minute: 1,000 and 5,000 runs of one zone due at one instant, against the raw floor."""

from datetime import timedelta
from statistics import median

from benchmarks.bench import HOURLY, START, Bench, Figures, Measured, fresh, ids, job_on
from benchmarks.floor import floor
from tests.storage.counting import Cost
from tests.storage.seeding import store_jobs

DECLARED = "UTC"
UNDECLARED = "Asia/Dubai"
DELAY_SECONDS = 0.02
MOST_OPERATIONS = 1.1
PAIRS = 3
MINUTE_SECONDS = 60
HOUR = timedelta(hours=1)


async def measure() -> Figures:
    """Operations for each due job, seconds, and the ratio to the floor.

    Raises:
        AssertionError: a run was left out, or a query is not bounded.
    """
    return {
        "declared_1000": await _measure(1_000, DECLARED, pairs=PAIRS),
        "undeclared_1000": await _measure(1_000, UNDECLARED, pairs=1),
        "declared_5000": await _measure(5_000, DECLARED, pairs=1),
        "declared_5000_delayed": await _measure(5_000, DECLARED, pairs=0, delay=DELAY_SECONDS),
    }


async def _measure(due: int, timezone: str, *, pairs: int, delay: float = 0) -> Figures:
    ticks: list[Measured] = []
    ratios: list[float] = []
    async with fresh(delay=delay) as bench:
        await store_jobs(bench.app, job_on(HOURLY, timezone), ids("due", due))
        await bench.tick()
        for number in range(max(pairs, 1)):
            bench.clock.move_to(START.replace(minute=58, second=30) + number * HOUR)
            ticks.append(await bench.tick())
            await _require_all(bench, timezone, due * (number + 1))
            if pairs:
                ratios.append(ticks[-1].seconds / await floor(bench, due, f"floor{number}"))
        bench.require_bounds()
    figures = _figures(due, ticks, ratios)
    print(_line(due, timezone, delay, figures))
    return figures


async def _require_all(bench: Bench, timezone: str, count: int) -> None:
    queue = bench.app.dispatcher.queue_of(timezone)
    sent = await bench.app.storage.queues.length(queue)
    if sent != count:
        raise AssertionError(f"{sent} of {count} starts were sent")


def _figures(due: int, ticks: list[Measured], ratios: list[float]) -> Figures:
    cost: Cost = ticks[0].cost
    seconds = median(one.seconds for one in ticks)
    return {
        "due": due,
        "operations": cost.operations,
        "operations_per_due": round(cost.operations / due, 4),
        "target_operations_per_due": MOST_OPERATIONS,
        "rows": cost.rows,
        "requests": dict(sorted(cost.requests.items())),
        "seconds": [round(one.seconds, 2) for one in ticks],
        "median_seconds": round(seconds, 2),
        "within_the_minute": seconds < MINUTE_SECONDS,
        "floor_ratios": [round(one, 2) for one in ratios],
        "floor_ratio": round(median(ratios), 2) if ratios else None,
    }


def _line(due: int, timezone: str, delay: float, figures: Figures) -> str:
    ratio, slow = figures["floor_ratio"], f", each request {delay * 1000:.0f} ms late"
    return (
        f"  {due:,} due in {timezone}{slow if delay else ''}: {figures['operations']:,} operations,"
        f" {figures['operations_per_due']:.3f} for each due job, {figures['median_seconds']:.1f} s"
        + (f", {ratio:.2f} × the floor" if ratio else "")
    )
