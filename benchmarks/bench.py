"""A scheduler on an emulator of its own, whose requests to storage are counted."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from time import perf_counter, process_time
from typing import Any

from cryptography.fernet import Fernet

from scheduler.app import App
from scheduler.dispatch.queue_names import relay_queue_name
from scheduler.jobs.model import Job, JobId, Schedule, ScheduleType, StepId, StepSpec
from scheduler.settings import Settings
from tests.storage.counting import Cost, CountingTransport, Tally
from tests.storage.wire import ManualClock
from tools.azurite import Azurite

START = datetime(2026, 11, 23, 1, 10, tzinfo=UTC)
HOURLY = "0 * * * *"
FAR_AWAY = "0 0 1 1 *"
HOST_BATCH = 16
"""How many messages the host takes at a time: `batchSize` of host.json."""
HIDDEN_SECONDS = 600

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
    connection_string: str

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
async def fresh() -> AsyncIterator[Bench]:
    """A bench on an emulator that is empty but for the relay queue."""
    with Azurite() as azurite:
        tally, clock = Tally(), ManualClock(START)
        values: dict[str, Any] = {
            "name": "bench",
            "storage_connection_string": azurite.connection_string,
            "encryption_keys": (Fernet.generate_key().decode(),),
        }
        app = App(
            Settings.model_validate(values),
            clock=clock,
            transport=lambda: CountingTransport(tally),
        )
        try:
            await app.storage.queues.ensure(relay_queue_name(app.settings.name))
            yield Bench(app, clock, tally, azurite.connection_string)
        finally:
            await app.close()


def job_on(expression: str, timezone: str = "UTC") -> Job:
    """A job of one step with a cron schedule."""
    step = StepSpec(id=StepId("one"), name="one", type="sql", config={"query": "SELECT 1"})
    return Job(
        id=JobId("template"),
        name="Template",
        timezone=timezone,
        steps=(step,),
        schedule=Schedule(type=ScheduleType.CRON, expression=expression),
    )


def ids(kind: str, count: int) -> list[str]:
    """So many job ids."""
    return [f"{kind}-{number}" for number in range(count)]
