"""A scheduler on an emulator of its own, whose requests to storage are counted."""

import asyncio
import os
import re
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

from cryptography.fernet import Fernet

from scheduler.app import App
from scheduler.dispatch.queue_names import relay_queue_name
from scheduler.execution.rules.states import RunState
from scheduler.jobs.model import Job, JobId, Schedule, ScheduleType, StepId, StepSpec
from scheduler.settings import Settings
from scheduler.storage.queues import Received
from tests.storage.counting import Cost, CountingTransport, Tally
from tests.storage.scripted import Script, scripted_registry
from tests.storage.wire import ManualClock
from tools.azurite import Azurite

QUICK = bool(os.environ.get("QUICK"))
"""Whether to measure little, to see that it works: such figures are worth nothing."""
START = datetime(2026, 11, 23, 1, 10, tzinfo=UTC)
HOURLY = "0 * * * *"
FAR_AWAY = "0 0 1 1 *"
HOST_BATCH = 16
"""How many messages the host takes at a time: `batchSize` of host.json."""
HIDDEN_SECONDS = 600

_COMPLAINT = re.compile(r"\S+ (WARNING|ERROR|CRITICAL) (\S+)")
_ACTION = re.compile(r" action=(\w+)")

type Figures = dict[str, Any]
"""What a measurement found, as it is written to the file."""


@dataclass(frozen=True)
class Measured:
    """What a piece of work cost, how long it took, and the processor time of this process."""

    cost: Cost
    seconds: float
    cpu_seconds: float


@dataclass
class Bench:
    """The app in simulated time, and what its requests come to."""

    app: App
    clock: ManualClock
    tally: Tally
    script: Script
    """What the steps do; nothing, unless it says so."""
    connection_string: str
    emulator: int
    """The process id of the emulator."""

    def delay_requests(self, seconds: float) -> None:
        """Has each further request of the app wait so long before it is sent."""
        self.tally.delay = seconds

    async def tick(self) -> Measured:
        """One tick, and whatever it hands on through the relay queue, as one host takes it."""
        before, began, cpu = self.tally.cost(), perf_counter(), process_time()
        await self.app.run_tick()
        if (self.tally.cost() - before).requests["relay send"]:
            await self._relay()
        seconds = perf_counter() - began
        return Measured(self.tally.cost() - before, seconds, process_time() - cpu)

    async def take(self, queue: str, limit: int = HOST_BATCH) -> int:
        """Takes messages of a queue, and handles and deletes them, as the host does; how many."""
        received = await self.app.storage.queues.receive(
            queue, hidden_seconds=HIDDEN_SECONDS, limit=limit
        )
        await asyncio.gather(*(self.handle(queue, one) for one in received))
        return len(received)

    async def handle(self, queue: str, message: Received) -> None:
        """Handles a message, and deletes it."""
        await self.app.engine.handle(queue, message.text, message.dequeue_count)
        await self.app.storage.queues.delete(queue, message)

    async def upkeep(self) -> Cost:
        """One upkeep."""
        before = self.tally.cost()
        await self.app.run_upkeep()
        return self.tally.cost() - before

    async def _relay(self) -> None:
        queue = relay_queue_name(self.app.settings.name)
        queues = self.app.storage.queues
        while received := await queues.receive(
            queue, hidden_seconds=HIDDEN_SECONDS, limit=HOST_BATCH
        ):
            await asyncio.gather(*(self.app.relay.handle(one.text) for one in received))
            await asyncio.gather(*(queues.delete(queue, one) for one in received))

    def require_bounds(self) -> None:
        """Makes sure that every query so far named one partition and two ends of a range.

        Raises:
            AssertionError: one did not; it would walk a whole table.
        """
        unbounded = self.tally.unbounded()
        if unbounded:
            raise AssertionError(f"queries without bounds: {unbounded[:3]}")


@asynccontextmanager
async def fresh(**settings: Any) -> AsyncIterator[Bench]:  # noqa: ANN401
    """A bench on an emulator that is empty but for the relay queue; its steps do nothing."""
    with Azurite() as azurite:
        clock = ManualClock(START)
        tally, script = Tally(), Script(clock)
        values: dict[str, Any] = {
            "name": "bench",
            "storage_connection_string": azurite.connection_string,
            "encryption_keys": (Fernet.generate_key().decode(),),
            **settings,
        }
        app = App(
            Settings.model_validate(values),
            clock=clock,
            transport=lambda: CountingTransport(tally),
            registry=scripted_registry(script),
        )
        try:
            await app.storage.queues.ensure(relay_queue_name(app.settings.name))
            connection = azurite.connection_string
            yield Bench(app, clock, tally, script, connection, azurite.pid or 0)
        finally:
            await app.close()


def job_on(expression: str, timezone: str = "UTC", steps: int = 1) -> Job:
    """A job with a cron schedule, of so many steps, one after the other."""
    names = [StepId(f"step_{number}") for number in range(1, steps + 1)]
    return Job(
        id=JobId("template"),
        name="Template",
        timezone=timezone,
        steps=tuple(StepSpec(id=one, name=one, type="scripted", config={}) for one in names),
        schedule=Schedule(type=ScheduleType.CRON, expression=expression),
    )


def cpu_seconds(process: int) -> float:
    """The processor time that a process has used so far; 0 where there is no /proc."""
    path = Path(f"/proc/{process}/stat")
    if not path.exists():
        return 0.0
    user, system = path.read_text("utf-8").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


async def states_of(app: App, job_id: str) -> list[RunState]:
    """The states of a job's executions."""
    rows = app.storage.executions.query(job_id, "r:", "r;", select=["state"])
    return [RunState(str(row.values["state"])) async for row in rows]


def complaints(logs: Iterable[Path]) -> dict[str, int]:
    """What hosts have logged as warning or error: how often, by level and action."""
    found: Counter[str] = Counter()
    for path in logs:
        for line in path.read_text("utf-8").splitlines():
            if match := _COMPLAINT.match(line):
                action = _ACTION.search(line)
                found[f"{match[1]} {action[1] if action else match[2]}"] += 1
    return dict(sorted(found.items()))


def ids(kind: str, count: int) -> list[str]:
    """So many job ids."""
    return [f"{kind}-{number}" for number in range(count)]
