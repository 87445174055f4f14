"""What reading an execution, the status and the lists costs, beside 10 to 100,000 finished runs.

The reader is an instance of its own, whose first read finds no definition in its cache. An
execution of 3 steps is read in the middle of its job's history, and one of 100 steps of a job that
ran once.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import starmap
from math import log
from statistics import median
from time import perf_counter, process_time
from typing import Any

from azure.data.tables.aio import TableClient

from benchmarks.bench import QUICK, Bench, Figures, fresh
from benchmarks.history import History
from benchmarks.listing import Work, cost_of, line, lists, require_flat, start_unfinished
from scheduler.app import App
from scheduler.dispatch.ids import ExecutionId, key_of
from scheduler.storage.keys import after
from tests.storage.counting import CountingTransport, Tally

SIZES = (10, 1_000, 2_000) if QUICK else (10, 1_000, 100_000)
FEW, MANY = 3, 100
PAIRS = 20 if QUICK else 200
TARGET_OPERATIONS, TARGET_TIME_RATIO = 2, 1.5


@dataclass
class _Reader:
    """Another instance of the app, whose requests are counted apart, and a bare table client."""

    app: App
    tally: Tally
    table: TableClient

    async def cost(self, work: Work) -> dict[str, int]:
        """Operations and rows read."""
        return await cost_of(self.tally, work)


async def measure() -> Figures:
    """Operations, rows, and the time against the same raw reads, by the size of the history.

    Raises:
        AssertionError: operations or rows grow with the history, or a query is not bounded.
    """
    sizes: list[Figures] = []
    async with fresh() as bench:
        few, many = History(bench, "few", FEW, 2), History(bench, "many", MANY, 3)
        for timezone in bench.app.settings.timezones:
            await bench.app.dispatcher.open_zone(timezone)
        for history in (few, many):
            await history.run()
        await start_unfinished(bench)
        async with _reader(bench) as reader:
            cold = await reader.cost(lambda: reader.app.execution_reader.read(many.middle))
            for size in SIZES:
                await few.fill(size)
                figures = await _size(reader, size, few.middle, many.middle)
                figures["lists"] = await lists(reader.app, reader.tally, "few", few.middle_day)
                sizes.append(figures)
                print(_line(figures), *starmap(line, figures["lists"].items()), sep="\n")
            unbounded = reader.tally.unbounded()
            if unbounded:
                raise AssertionError(f"queries without bounds: {unbounded[:3]}")
            require_flat(sizes)
    return _summary(bench, cold, sizes)


def _summary(bench: Bench, cold: dict[str, int], sizes: list[Figures]) -> Figures:
    figures: Figures = {
        "zones": len(bench.app.settings.timezones),
        "target_operations": TARGET_OPERATIONS,
        "target_time_ratio": TARGET_TIME_RATIO,
        "first_read_of_an_instance": cold,
        "sizes": sizes,
        "exponent": _exponents(sizes[0], sizes[-1]),
    }
    print(f"  growth exponents from {SIZES[0]:,} to {SIZES[-1]:,}: {figures['exponent']}")
    return figures


@asynccontextmanager
async def _reader(bench: Bench) -> AsyncIterator[_Reader]:
    tally = Tally()
    app = App(
        bench.app.settings,
        clock=bench.clock,
        transport=lambda: CountingTransport(tally),
        registry=bench.app.registry,
    )
    table = TableClient.from_connection_string(
        bench.connection_string,
        f"{bench.app.settings.name}Executions",
        transport=CountingTransport(Tally()),
    )
    async with table:
        try:
            yield _Reader(app, tally, table)
        finally:
            await app.storage.close()


async def _size(reader: _Reader, size: int, few: ExecutionId, many: ExecutionId) -> Figures:
    app = reader.app
    figures: Figures = {"finished_runs": size}
    for name, execution_id in (("few", few), ("many", many)):
        read = _reading(app, execution_id)
        await read()
        figures[name] = await reader.cost(read) | {
            "time": await _by_turns(read, _raw_reading(reader.table, execution_id))
        }
    figures["run_row"] = await _by_turns(
        lambda: app.store.run(few), lambda: _raw_row(reader.table, few)
    )
    figures["status"] = await reader.cost(app.status.status)
    return figures


def _reading(app: App, execution_id: ExecutionId) -> Work:
    return lambda: app.execution_reader.read(execution_id)


async def _raw_row(table: TableClient, execution_id: ExecutionId) -> Any:  # noqa: ANN401
    key = key_of(execution_id)
    return await table.get_entity(key.job_id, key.run_row)


def _raw_reading(table: TableClient, execution_id: ExecutionId) -> Work:
    key = key_of(execution_id)

    async def read() -> list[object]:
        rows = table.query_entities(
            "PartitionKey eq @partition and RowKey ge @start and RowKey lt @end",
            parameters={
                "partition": key.job_id,
                "start": key.step_rows,
                "end": after(key.step_rows),
            },
        )
        return [await _raw_row(table, execution_id), *[row async for row in rows]]

    return read


async def _by_turns(work: Work, raw: Work) -> dict[str, float]:
    """Median milliseconds of the app and of the bare SDK; the ratios of time and processor time."""
    times: tuple[list[float], list[float]] = ([], [])
    used = [0.0, 0.0]
    for _ in range(PAIRS):
        for side, one in enumerate((work, raw)):
            began, cpu = perf_counter(), process_time()
            await one()
            times[side].append(perf_counter() - began)
            used[side] += process_time() - cpu
    mine, bare = map(median, times)
    return {
        "milliseconds": round(1000 * mine, 2),
        "raw_milliseconds": round(1000 * bare, 2),
        "ratio": round(mine / bare, 2),
        "cpu_ratio": round(used[0] / used[1], 2),
    }


def _exponents(small: Figures, large: Figures) -> dict[str, float]:
    """The power of the number of finished runs by which each figure grows; 0 is flat."""
    growth = log(large["finished_runs"] / small["finished_runs"])
    exponents = {}
    for name in ("few", "many", "status"):
        for counted in ("operations", "rows"):
            before, now = small[name][counted], large[name][counted]
            if before != now:
                raise AssertionError(f"{counted} of {name} grew from {before} to {now}")
            exponents[f"{name}_{counted}"] = round(log(now / before) / growth, 3)
    return exponents


def _line(row: Figures) -> str:
    told = (
        f"{steps} steps {row[name]['operations']} operations, {row[name]['rows']} rows,"
        f" {row[name]['time']['ratio']} times the raw time"
        for name, steps in (("few", FEW), ("many", MANY))
    )
    status = row["status"]
    return (
        f"  {row['finished_runs']:>7,} finished runs: {'; '.join(told)}; status"
        f" {status['operations']} operations, {status['rows']} rows; run row alone"
        f" {row['run_row']['ratio']} times the raw time"
    )
