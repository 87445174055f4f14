"""What it costs to erase a day or two of finished executions, and that all of them is gone."""

from datetime import timedelta
from time import perf_counter

from benchmarks.bench import QUICK, Bench, Figures, fresh
from benchmarks.history import History

JOBS, EACH = (3, 50) if QUICK else (10, 1_000)
STEPS = 3
FIRST_HOUR = 2
OUTPUTS = 20
"""Of an execution of each job: outputs in blobs."""
LATER = timedelta(days=100)


async def measure() -> Figures:
    """Operations and seconds, all in all and for each execution.

    Raises:
        AssertionError: something is left, or a query is not bounded.
    """
    async with fresh() as bench:
        await _fill(bench)
        idle = await bench.upkeep()
        before = await _left(bench)
        bench.clock.move_to(bench.clock.now() + LATER)
        began = perf_counter()
        cost = await bench.upkeep()
        seconds = perf_counter() - began
        left = await _left(bench)
        bench.require_bounds()
    if left:
        raise AssertionError(f"{left} of {before} rows and blobs are left")
    executions = JOBS * (EACH + 1)
    operations = cost.operations - idle.operations
    figures: Figures = {
        "jobs": JOBS,
        "executions": executions,
        "rows_and_blobs": before,
        "operations": operations,
        "operations_each": round(operations / executions, 3),
        "seconds": round(seconds, 1),
        "requests": dict(cost.requests.most_common()),
    }
    print(
        f"  {executions:,} executions of {JOBS} jobs, {before:,} rows and blobs: {operations:,}"
        f" operations, {figures['operations_each']} each, {seconds:.1f} s"
    )
    return figures


async def _fill(bench: Bench) -> None:
    for number in range(JOBS):
        history = History(bench, f"job-{number}", STEPS, FIRST_HOUR + number, each_with_steps=1)
        await history.run()
        await history.fill(EACH)
        for place in range(OUTPUTS):
            name = f"job-{number}/{history.middle}/step-{place}/1.txt"
            await bench.app.storage.outputs.put(name, b"x" * 40_000)


async def _left(bench: Bench) -> int:
    storage, count = bench.app.storage, 0
    for number in range(JOBS):
        job_id = f"job-{number}"
        count += len([row async for row in storage.executions.query(job_id, "", "~")])
        count += len(await storage.outputs.names(f"{job_id}/"))
    day = bench.clock.now()
    for back in range(150):
        for partition in (f"{day - timedelta(days=back):%Y%m%d}{end}" for end in ("", "!")):
            count += len([row async for row in storage.days.query(partition, "", "~")])
    return count
