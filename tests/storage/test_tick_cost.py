"""The shape of a tick's cost, as docs/performance.md has it; `make bench-tick` has the figures."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from cryptography.fernet import Fernet

from scheduler.app import App
from scheduler.dispatch.queue_names import relay_queue_name
from scheduler.jobs.model import Job, JobId, Schedule, ScheduleType
from scheduler.settings import Settings
from tests.storage.counting import Cost, CountingTransport, Tally
from tests.storage.seeding import store_jobs
from tests.storage.wire import ManualClock

START = datetime(2026, 11, 23, 1, 10, tzinfo=UTC)
AHEAD_OF_THE_HOUR = START.replace(minute=58, second=30)
HOURLY = "0 * * * *"
YEARLY = "0 0 1 1 *"


class Ticking:
    """An app whose ticks are counted, in simulated time."""

    def __init__(self, azurite: str, name: str) -> None:
        self.tally, self.clock = Tally(), ManualClock(START)
        settings = {
            "name": name,
            "timezones": ("UTC",),
            "storage_connection_string": azurite,
            "encryption_keys": (Fernet.generate_key().decode(),),
        }
        self.app = App(
            Settings.model_validate(settings),
            clock=self.clock,
            transport=lambda: CountingTransport(self.tally),
        )

    async def store(self, kind: str, count: int, expression: str, timezone: str = "UTC") -> None:
        """Stores so many jobs of one schedule."""
        schedule = Schedule(type=ScheduleType.CRON, expression=expression)
        job = Job(id=JobId(kind), name=kind, timezone=timezone, schedule=schedule)
        ids = [f"{kind}-{number}" for number in range(count)]
        await store_jobs(self.app, job, ids, whole=False)

    async def tick(self, at: datetime) -> Cost:
        """One tick at an instant; what it cost."""
        self.clock.move_to(at)
        before = self.tally.cost()
        await self.app.run_tick()
        return self.tally.cost() - before


@pytest.fixture
async def ticking(azurite: str, scheduler_name: str) -> AsyncIterator[Ticking]:
    """A scheduler with no jobs, whose tables and relay queue are there."""
    ticking = Ticking(azurite, scheduler_name)
    await ticking.app.dispatcher.open_zone("UTC")
    await ticking.app.storage.queues.ensure(relay_queue_name(scheduler_name))
    await ticking.app.run_tick()
    yield ticking
    await ticking.app.close()


async def test_a_tick_costs_the_same_among_more_stored_jobs(ticking: Ticking) -> None:
    await ticking.store("due", 100, HOURLY)
    among_100 = await ticking.tick(AHEAD_OF_THE_HOUR)
    await ticking.store("far", 1_900, YEARLY)
    among_2000 = await ticking.tick(AHEAD_OF_THE_HOUR.replace(hour=2))
    assert among_2000 == among_100
    assert among_100.rows == 101  # the due rows, and the zone


async def test_an_idle_tick_costs_the_same_among_more_stored_jobs(ticking: Ticking) -> None:
    empty = await ticking.tick(START.replace(minute=20))
    await ticking.store("far", 500, YEARLY)
    assert await ticking.tick(START.replace(minute=30)) == empty
    assert empty.requests == {
        "Jobs query": 32,  # two a shard
        "Zones query": 1,
        "Control get": 2,
        "Control batch": 1,
    }


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Dubai"])
async def test_a_due_job_costs_little_over_its_one_message(ticking: Ticking, timezone: str) -> None:
    await ticking.store("due", 300, HOURLY, timezone)
    idle = await ticking.tick(START.replace(minute=20))
    due = await ticking.tick(AHEAD_OF_THE_HOUR)
    assert due.requests["tz send"] == 300
    assert due.requests["relay send"] == (0 if timezone == "UTC" else 3)
    assert (due.operations - idle.operations) / 300 <= 1.1


async def test_every_query_of_tick_and_upkeep_is_bounded(ticking: Ticking) -> None:
    await ticking.store("due", 50, HOURLY, "Asia/Dubai")
    await ticking.tick(AHEAD_OF_THE_HOUR)
    await ticking.app.run_upkeep()
    assert len(ticking.tally.filters) > 60
    assert ticking.tally.unbounded() == []


def test_a_filter_without_a_partition_or_a_range_is_found() -> None:
    bounded = "PartitionKey eq '0' and RowKey ge 'due:' and RowKey lt 'due;'"
    others = ["", "job_id eq 'a'", "PartitionKey eq '0'", f"{bounded} or RowKey ge ''"]
    assert Tally(filters=[bounded, *others]).unbounded() == others
