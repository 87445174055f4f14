"""How many steps a second one process does, end to end, against the bare SDK's least.

Chains of three steps that do nothing, all due at one second, in so many zones that no run is
parked. App and floor by turns: on one emulator, in one process, with as many queues and messages,
taken by the same pump. The tick's announcement and the floor's first messages are not timed. Last,
more chains than slots in one zone, where most are parked.
"""

import os
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from statistics import median
from time import perf_counter, process_time

from benchmarks.bench import (
    HIDDEN_SECONDS,
    HOURLY,
    QUICK,
    START,
    Bench,
    Figures,
    cpu_seconds,
    fresh,
    ids,
    job_on,
)
from benchmarks.chain_floor import ChainFloor, chain_floor
from benchmarks.pump import pump
from scheduler.storage.queues import Received
from tests.storage.counting import Tally
from tests.storage.seeding import store_jobs

EXECUTIONS = int(os.environ.get("EXECUTIONS") or (60 if QUICK else 300))
STEPS = 3
PAIRS = 1 if QUICK else 3
SLOTS = 50
CROWD = 3 * SLOTS
TARGET, STRETCH = 0.5, 0.7
CPU_TARGET, CPU_STRETCH = 2.0, 1.4
_WARM_UP = 30
_ZONES = [f"Etc/GMT{hours:+d}" for hours in range(-14, 13) if hours]
"""Whose hours begin together."""


@dataclass(frozen=True)
class _Side:
    """What all the steps took: wall time, processor time of this process and of the emulator."""

    seconds: float
    cpu_seconds: float
    emulator_cpu_seconds: float
    operations: int


async def measure() -> Figures:
    """Steps a second of app and floor, their ratio, and the ratio of processor time.

    Raises:
        AssertionError: an execution did not end well.
        ValueError: more executions are asked for than the zones have slots.
    """
    zones = _ZONES[: ceil(EXECUTIONS / SLOTS)]
    if len(zones) * SLOTS < EXECUTIONS:
        raise ValueError(f"EXECUTIONS is at most {SLOTS * len(_ZONES)}")
    apps: list[_Side] = []
    floors: list[_Side] = []
    async with fresh(timezones=zones) as bench, chain_floor(bench, len(zones), STEPS) as floor:
        runs = _Runs(bench, zones)
        await runs.store(EXECUTIONS)
        await runs.hour(EXECUTIONS)
        await _floor(bench, floor, "warm", _WARM_UP)
        for number in range(PAIRS):
            apps.append(await runs.hour(EXECUTIONS))
            floors.append(await _floor(bench, floor, f"round-{number}", EXECUTIONS))
            print(_line(apps[-1], floors[-1]))
        bench.require_bounds()
    figures = _figures(apps, floors, len(zones))
    figures["crowded"] = await _crowded()
    return figures


async def _crowded() -> Figures:
    """What parking costs: a zone with three times as many runs as it has slots."""
    async with fresh(timezones=_ZONES[:1]) as bench:
        runs = _Runs(bench, _ZONES[:1])
        await runs.store(CROWD)
        await runs.hour(CROWD)
        side = await runs.hour(CROWD)
        bench.require_bounds()
    steps = CROWD * STEPS
    print(
        f"  {CROWD} executions in one zone of {SLOTS} slots: {steps / side.seconds:.0f} steps a"
        f" second, {side.operations / steps:.2f} operations a step"
    )
    return {"executions": CROWD, "slots": SLOTS, **_side([side], steps)}


class _Runs:
    """The app's chains: each hour of the simulated clock all of them run once."""

    def __init__(self, bench: Bench, zones: list[str]) -> None:
        self._bench = bench
        self._zones = zones
        self._next = START.replace(minute=0) + timedelta(hours=1)

    async def store(self, count: int) -> None:
        """Stores the jobs, spread over the zones."""
        names = ids("chain", count)
        for place, zone in enumerate(self._zones):
            job = job_on(HOURLY, zone, STEPS)
            mine = names[place :: len(self._zones)]
            await store_jobs(self._bench.app, job, mine, definitions=True)

    async def hour(self, count: int) -> _Side:
        """Announces the next hour's runs, and runs them."""
        bench, hour = self._bench, self._next
        self._next += timedelta(hours=1)
        bench.clock.move_to(hour)
        await bench.tick()
        queues = [bench.app.dispatcher.queue_of(zone) for zone in self._zones]
        requests = bench.tally.requests
        work = pump(
            queues,
            lambda: requests["tz delete"] == requests["tz send"],
            self._receive,
            bench.handle,
        )
        side = await _timed(bench, bench.tally, work)
        rows = bench.app.storage.days.query(f"{hour:%Y%m%d}", "", "~", select=["state", "end_time"])
        ended = [row.values["state"] async for row in rows if row.values["end_time"] == hour]
        if ended != ["success"] * count:
            raise AssertionError(f"{ended.count('success')} of {count} executions ended well")
        return side

    async def _receive(self, queue: str, limit: int) -> list[Received]:
        queues = self._bench.app.storage.queues
        return await queues.receive(queue, hidden_seconds=HIDDEN_SECONDS, limit=limit)


async def _floor(bench: Bench, floor: ChainFloor, name: str, count: int) -> _Side:
    await floor.start(name, count)
    return await _timed(bench, floor.tally, floor.run(count))


async def _timed(bench: Bench, tally: Tally, work: Awaitable[None]) -> _Side:
    emulator, before = cpu_seconds(bench.emulator), tally.cost()
    began, cpu = perf_counter(), process_time()
    await work
    return _Side(
        perf_counter() - began,
        process_time() - cpu,
        cpu_seconds(bench.emulator) - emulator,
        (tally.cost() - before).operations,
    )


def _figures(apps: list[_Side], floors: list[_Side], zones: int) -> Figures:
    pairs = list(zip(apps, floors, strict=True))
    ratios = [floor.seconds / app.seconds for app, floor in pairs]
    cpu = [app.cpu_seconds / floor.cpu_seconds for app, floor in pairs]
    each = [
        (app.cpu_seconds / app.operations) / (floor.cpu_seconds / floor.operations)
        for app, floor in pairs
    ]
    figures: Figures = {
        "executions": EXECUTIONS,
        "steps_each": STEPS,
        "zones": zones,
        "app": _side(apps, EXECUTIONS * STEPS),
        "floor": _side(floors, EXECUTIONS * STEPS),
        "rate_ratio": _spread(ratios),
        "rate_ratio_target": TARGET,
        "rate_ratio_stretch": STRETCH,
        "cpu_ratio": _spread(cpu),
        "cpu_ratio_target": CPU_TARGET,
        "cpu_ratio_stretch": CPU_STRETCH,
        "cpu_ratio_of_one_operation": _spread(each),
    }
    print(
        f"  steps a second, app ÷ floor: {figures['rate_ratio']['median']} (target ≥ {TARGET});"
        f" processor time: {figures['cpu_ratio']['median']} times (target ≤ {CPU_TARGET:g});"
        f" of one operation: {figures['cpu_ratio_of_one_operation']['median']} times"
    )
    return figures


def _side(sides: list[_Side], steps: int) -> Figures:
    return {
        "steps_a_second": [round(steps / one.seconds, 1) for one in sides],
        "cpu_milliseconds_a_step": [round(1000 * one.cpu_seconds / steps, 2) for one in sides],
        "emulator_cpu_milliseconds_a_step": [
            round(1000 * one.emulator_cpu_seconds / steps, 2) for one in sides
        ],
        "operations_a_step": [round(one.operations / steps, 2) for one in sides],
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(median(values), 2),
        "least": round(min(values), 2),
        "most": round(max(values), 2),
    }


def _line(app: _Side, floor: _Side) -> str:
    steps = EXECUTIONS * STEPS
    told = (
        f"{name} {steps / side.seconds:.0f} steps a second,"
        f" {1000 * side.cpu_seconds / steps:.1f} ms of processor time"
        f" and {side.operations / steps:.2f} operations a step"
        for name, side in (("app", app), ("floor", floor))
    )
    return f"  {'; '.join(told)}"
