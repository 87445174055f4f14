"""What scheduled runs cost in storage operations: chains of steps that do nothing.

From the tick's own transactions and message to the deletion of the last message. The looks for due
jobs that every tick takes are left out, and so are receipts of nothing.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Mapping
from dataclasses import replace
from time import monotonic

from benchmarks.bench import HOST_BATCH, START, Bench, Figures, fresh, ids, job_on
from scheduler.jobs.model import StepSpec
from scheduler.schedule.wording import counted
from tests.storage.scripted import Hold, fails
from tests.storage.seeding import store_jobs

STEPS = (1, 3, 10)
FANS = (8, 50)
WIDEST = 50
TOGETHER, TOGETHER_STEPS = 48, 3
"""Fewer than a zone has slots, so that none is parked."""
DEADLINE_SECONDS = 60
_PAUSE_SECONDS = 0.05
_WORDS = {
    "batch": "transactions",
    "get": "reads",
    "query": "queries",
    "send": "sends",
    "receive": "receipts",
    "delete": "deletions",
}
KINDS = (*_WORDS.values(), "blobs")
SHARED = 2
"""The tick's transactions: one for up to 100 runs of a zone, one for up to 33 of a shard."""
_COLUMNS = ("operations", *KINDS, "target", "stretch", "durable_functions")
_WIDTH = 36


async def measure() -> Figures:
    """Operations by kind: of chains, alone and many at once, of a retry, of a parked run.

    Raises:
        AssertionError: a query is not bounded, or a run does not come to its end.
    """
    async with fresh() as bench:
        await _Count(bench, 2).chain(1, "warm")
        chains = [
            _against(steps, await _Count(bench, 3 + place).chain(steps, f"chain-{steps}"))
            for place, steps in enumerate(STEPS)
        ]
        together = await _Count(bench, 6).together()
        retried = await _Count(bench, 7).retried()
        fans = [
            _against_fan(width, await _Count(bench, 8 + place).fan(width))
            for place, width in enumerate(FANS)
        ]
        bench.require_bounds()
    async with fresh(max_concurrent_per_timezone=1) as bench:
        await _Count(bench, 2).chain(1, "warm")
        alone = await _Count(bench, 3).chain(1, "alone")
        pair = await _Count(bench, 4).parked()
        bench.require_bounds()
    shared = {name: round(count / TOGETHER, 1) for name, count in _by_kind(together).items()}
    others = {
        f"{TOGETHER_STEPS} steps, one of {TOGETHER} at once": shared,
        "more for a step that is tried again": _by_kind(retried - alone),
        "1 step, parked": _by_kind(pair - alone),
    }
    _tell(chains, fans, others)
    return {"chains": chains, "fans": fans, "others": others}


class _Count:
    """Counts what the runs of an hour cost."""

    def __init__(self, bench: Bench, hour: int) -> None:
        self._bench = bench
        self._hour = hour
        self._queue = bench.app.dispatcher.queue_of("UTC")
        self.requests: Counter[str] = Counter()

    async def chain(self, steps: int, name: str) -> Counter[str]:
        """One run, with nothing in its way."""
        await self._due([name], steps)
        await self._drain(steps, 1)
        return self.requests

    async def fan(self, width: int) -> Counter[str]:
        """One run of so many steps side by side, and one that joins them."""
        await self._due([f"fan-{width}"], width + 1, fan=True)
        await self._drain(width + 1, HOST_BATCH)
        return self.requests

    async def together(self) -> Counter[str]:
        """Many runs of a zone at once, their messages taken as the host does."""
        await self._due(ids("together", TOGETHER), TOGETHER_STEPS)
        await self._drain(TOGETHER * TOGETHER_STEPS, HOST_BATCH)
        return self.requests

    async def retried(self) -> Counter[str]:
        """One run of one step, whose first attempt fails."""
        self._bench.script.acts["step_1"] = [fails()]
        await self._due(["retried"], 1)
        await self._drain(2, 1)
        return self.requests

    async def parked(self) -> Counter[str]:
        """Two runs: the second is parked, for the first keeps the zone's only slot."""
        hold = Hold()
        script = self._bench.script
        script.acts["step_1"] = [hold]
        await self._due(["holder"], 1)
        before = self._bench.tally.cost()
        holder = asyncio.create_task(self._bench.take(self._queue, 1))
        while not script.held:
            script.changed.clear()
            await asyncio.wait_for(script.changed.wait(), DEADLINE_SECONDS)
        self.requests += (self._bench.tally.cost() - before).requests
        await self._due(["parked"], 1, second=10)
        await self._drain(1, 1)
        before = self._bench.tally.cost()
        hold.release()
        await holder
        self.requests += (self._bench.tally.cost() - before).requests
        await self._drain(1, 1)
        return self.requests

    async def _due(
        self, names: list[str], steps: int, second: int = 0, *, fan: bool = False
    ) -> None:
        """Stores jobs, and announces their runs at the second at which they are due."""
        bench = self._bench
        await bench.app.dispatcher.open_zone("UTC")
        before = bench.tally.cost()
        await bench.app.tick.run()
        idle = bench.tally.cost() - before
        job = job_on(f"{second} 0 {self._hour} * * *", steps=steps)
        tried = tuple(replace(step, max_retries=1, retry_delay=1) for step in job.steps)
        tried = _side_by_side(tried) if fan else tried
        job = replace(job, steps=tried, max_parallel=WIDEST)
        await store_jobs(bench.app, job, names, definitions=True)
        bench.clock.move_to(START.replace(hour=self._hour, minute=0, second=second))
        await self._counted(bench.app.tick.run())
        self.requests -= idle.requests

    async def _drain(self, messages: int, limit: int) -> None:
        """Handles so many messages; what is hidden for a retry is waited for."""
        end = monotonic() + DEADLINE_SECONDS
        while messages > 0:
            before = self.requests.copy()
            taken = await self._counted(self._bench.take(self._queue, limit))
            messages -= taken
            if not taken:
                self.requests = before
                if monotonic() > end:
                    raise AssertionError(f"{messages} messages have not come")
                self._bench.clock.advance(_PAUSE_SECONDS)
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _counted[T](self, work: Awaitable[T]) -> T:
        before = self._bench.tally.cost()
        result = await work
        self.requests += (self._bench.tally.cost() - before).requests
        return result


def _side_by_side(steps: tuple[StepSpec, ...]) -> tuple[StepSpec, ...]:
    """The last step after all others, which wait for nothing."""
    *wide, join = steps
    before = tuple(step.id for step in wide)
    return (*(replace(step, depends_on=()) for step in wide), replace(join, depends_on=before))


def _by_kind(requests: Counter[str]) -> dict[str, float]:
    """Operations by what they are: of tables, of queues, of blobs."""
    kinds: Counter[str] = Counter(dict.fromkeys(KINDS, 0))
    for name, count in requests.items():
        resource, verb = name.split()
        if resource in ("definitions", "outputs"):
            kinds["blobs"] += count
        else:
            kinds[_WORDS[verb]] += count
    return {"operations": requests.total(), **kinds}


def _against(steps: int, requests: Counter[str]) -> Figures:
    return {
        "steps": steps,
        **_by_kind(requests),
        "target": 6 * steps + 7,
        "stretch": 5 * steps + 6,
        "durable_functions": 9 * steps + 9,
        "shared_by_the_runs_of_a_tick": SHARED,
        "requests": dict(sorted(requests.items())),
    }


def _against_fan(width: int, requests: Counter[str]) -> Figures:
    return {
        "width": width,
        **_by_kind(requests),
        "target": 5 * width + 13,
        "durable_functions": 9 * width + 9,
        "requests": dict(sorted(requests.items())),
    }


def _tell(chains: list[Figures], fans: list[Figures], others: dict[str, dict[str, float]]) -> None:
    print(_line("", {name: name.replace("_", " ") for name in _COLUMNS}))
    for row in chains:
        print(_line(counted(row["steps"], "step"), row))
    for row in fans:
        print(_line(f"{counted(row['width'], 'step')} at once, and a join", row))
    for what, kinds in others.items():
        print(_line(what, kinds))


def _line(what: str, row: Mapping[str, object]) -> str:
    cells = (f"{row.get(name, '')!s:>{len(name) + 2}}" for name in _COLUMNS)
    return f"  {what:<{_WIDTH}}{''.join(cells)}"
