"""A whole scheduler on Azurite, in simulated time: the app, a host that pumps its queues, a clock.

The host receives and deletes real messages. When nothing can be processed, the clock moves to the
next instant at which something can: a hidden message, the tick at each minute, upkeep at each :30.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.core.pipeline.transport import AsyncHttpTransport
from cryptography.fernet import Fernet

from scheduler.app import App
from scheduler.clock import Clock
from scheduler.dispatch.ids import shard_of
from scheduler.dispatch.queue_names import poison_queue_name, relay_queue_name
from scheduler.errors import StorageUnavailable
from scheduler.security.audit import Caller
from scheduler.security.principals import Principal, Role
from scheduler.settings import Settings
from scheduler.storage.account import Storage
from scheduler.storage.keys import after, sortable
from scheduler.storage.tables import Table, Upsert
from tests.storage.host import Host
from tests.storage.scripted import Script, scripted_registry
from tests.storage.service import failing_server, with_token
from tests.storage.transport import SimulatedTransport
from tests.storage.wire import Instance, Killed, ManualClock, Wire

START = datetime(2026, 11, 23, 2, 0, 10, tzinfo=UTC)
DECLARED = ("UTC", "Asia/Tokyo")
UNDECLARED = "Asia/Kathmandu"
AUTHOR = Principal("test", "test", Role.AUTHOR, frozenset({"*"}))
CALLER = Caller(AUTHOR)
MAX_ROUNDS = 250
FAILURES = frozenset({"upkeep_failed", "slot_ownerless", "wake_failed", "run_unrecordable"})
MINUTE = timedelta(minutes=1)


class Simulation:
    """One scheduler with a name of its own; made by `simulated`."""

    def __init__(
        self,
        connection_string: str,
        name: str,
        failing_url: str,
        **settings: Any,  # noqa: ANN401
    ) -> None:
        self.clock = ManualClock(START)
        self.wire = Wire(self.clock, failing_url)
        self.script = Script(self.clock)
        self.settings = Settings.model_validate(
            {
                "name": name,
                "timezones": DECLARED,
                "storage_connection_string": with_token(connection_string),
                "encryption_keys": (Fernet.generate_key().decode(),),
                "storage_retries": 0,
                **settings,
            }
        )
        self.storage = Storage(self.settings, transport=self._own_transport)
        self.host = Host(self.storage.queues, self.wire, self.script)
        self._instances: dict[App, Instance] = {}
        self.app = self.new_app()
        self.job_ids: set[str] = set()
        self.failures: list[str] = []
        """What parts of the app logged as failures that they went on after: each is a bug."""
        self._horizon = timedelta(seconds=self.settings.tick_horizon_seconds)
        self._timers = START

    def _own_transport(self) -> AsyncHttpTransport[Any, Any]:
        return SimulatedTransport(self.wire)

    def new_app(self, clock: Clock | None = None) -> App:
        """Another instance of the app, its caches cold; closed when the simulation ends."""
        instance = Instance()
        app = App(
            self.settings,
            clock=clock or self.clock,
            transport=lambda: SimulatedTransport(self.wire, instance),
            registry=scripted_registry(self.script),
        )
        self._instances[app] = instance
        return app

    async def restart(self) -> App:
        """Puts a new instance in the place of the app; returns the old one."""
        old, self.app = self.app, self.new_app()
        return old

    async def kill(self) -> App:
        """Ends the app where it stands, and puts a new instance in its place; returns the old."""
        self._instances[self.app].kill()
        return await self._replace_dead()

    async def _replace_dead(self) -> App:
        await self.wire.quiet()
        await self.host.kill_workers()
        return await self.restart()

    async def create(self, job_id: str, *steps: dict[str, Any], **fields: Any) -> str:  # noqa: ANN401
        """Stores a job through the API; returns its id. A step is a dict of its fields."""
        await self.app.jobs.create(CALLER, AUTHOR, self._body(job_id, steps, fields))
        return job_id

    async def execute(self, job_id: str, *steps: dict[str, Any], **fields: Any) -> str:  # noqa: ANN401
        """Starts a job, inline when it has steps, through the API; returns the execution's id."""
        body = self._body(job_id, steps, fields) if steps else {"job_id": job_id, **fields}
        return (await self.app.executions.execute(CALLER, AUTHOR, body, 0)).execution_id

    def _body(
        self, job_id: str, steps: tuple[dict[str, Any], ...], fields: dict[str, Any]
    ) -> dict[str, Any]:
        self.job_ids.add(job_id)
        listed = [{"type": "scripted", **step} for step in steps]
        return {"id": job_id, "name": job_id, "steps": listed, **fields}

    async def read(self, execution_id: str) -> dict[str, Any]:
        """An execution as the API shows it."""
        return (await self.app.execution_reader.read(execution_id)).body

    async def run(self, until: datetime | None = None, *, minutes: float | None = None) -> None:
        """Lets time pass until an instant, or until nothing is left to do.

        Raises:
            AssertionError: it never comes to an end.
        """
        if minutes is not None:
            until = self.clock.now() + timedelta(minutes=minutes)
        for _ in range(MAX_ROUNDS):
            if await self.deliver():
                continue
            if until is None and await self._idle():
                return
            if until is not None and self.clock.now() >= until:
                return
            await self._move_on(until)
        raise AssertionError(f"it does not come to rest: {self.wire.log[-40:]}")

    async def deliver(self) -> bool:
        """Handles every message that is visible to the host now; False when nothing happened.

        An instance that is killed by one of them is replaced.
        """
        delivered = await self.host.deliver(self.app)
        await self.replace_if_dead()
        return delivered

    async def replace_if_dead(self) -> None:
        """Puts a new instance in the place of one that was killed."""
        if self._instances[self.app].dead:
            await self._replace_dead()

    async def _move_on(self, until: datetime | None) -> None:
        """Moves the clock to the next instant at which something happens, and lets it happen."""
        half = self._timers.replace(second=0, microsecond=0) + MINUTE / 2
        timer = half if half > self._timers else half + MINUTE / 2
        instants = [timer, *([until] if until is not None else [])]
        flying = [one.at for one in self.wire.flying.values() if not one.poison]
        instants += [at for at in flying if at > self.clock.now()]
        self.clock.move_to(min(instants))
        await self.host.show()
        if self.clock.now() >= timer:
            self._timers = timer
            await self._timer(tick=timer.second == 0)

    async def _timer(self, *, tick: bool) -> None:
        try:
            if not tick:
                await self.app.run_upkeep()
            elif await self._near("due:", "wake:"):
                await self.app.run_tick()
            else:  # The many queries of a tick would find nothing.
                await self.app.relay.sweep()
        except StorageUnavailable as error:
            self.host.faults.append(error.message)
        except Killed:
            await self._replace_dead()

    async def drop_job(self, job_id: str) -> None:
        """Deletes a job, so that nothing more comes due."""
        await self.app.jobs.delete(CALLER, AUTHOR, job_id, None)

    async def spoil_schedule(self, job_id: str) -> None:
        """Makes a job's due row one whose next run cannot be computed."""
        shard = shard_of(job_id)
        async for row in self.storage.jobs.query(shard, "due:", "due;"):
            if row.values["job_id"] == job_id:
                schedule = str(row.values["schedule"]).replace("*/10", "nonsense")
                await self.storage.jobs.commit(shard, [Upsert(row.key, {"schedule": schedule})])

    async def be_down(self, **time: float) -> None:
        """Lets time pass while neither host nor timers run."""
        self.clock.move_to(self.clock.now() + timedelta(**time))
        self._timers = self.clock.now()
        await self.host.show()

    async def _idle(self) -> bool:
        if self.host.workers or any(not one.poison for one in self.wire.flying.values()):
            return False
        return not await self.leftovers() and not await self._planned("due:")

    async def leftovers(self) -> list[str]:
        """The rows of unfinished work: runs, slots, waiters, active marks, queue rows, waits."""
        found: list[str] = []
        for zone in (*DECLARED, UNDECLARED):
            queue = self.app.dispatcher.queue_of(zone)
            found += await self._keys(self.storage.zones, queue, "a", "z")
        for job_id in sorted(self.job_ids):
            found += await self._keys(self.storage.executions, job_id, "!", '"')
        return found + await self._planned("wake:")

    async def _planned(self, *prefixes: str) -> list[str]:
        """The rows of coming runs (`due:`) and waits (`wake:`) of the jobs of this test."""
        return [
            key
            for shard in sorted(set(map(shard_of, self.job_ids)))
            for prefix in prefixes
            for key in await self._keys(self.storage.jobs, shard, prefix, after(prefix))
        ]

    async def _near(self, *prefixes: str) -> bool:
        """Whether one of the planned rows is near enough for a tick to take it up."""
        until = sortable(self.clock.now() + self._horizon)
        keys = await self._planned(*prefixes)
        return any(key.partition(":")[2] < until for key in keys)

    async def _keys(self, table: Table, partition: str, start: str, end: str) -> list[str]:
        return [row.key async for row in table.query(partition, start, end)]

    async def slots(self, zone: str = "UTC") -> list[str]:
        """The ids of the executions that hold a slot of a zone."""
        queue = self.app.dispatcher.queue_of(zone)
        rows = self.storage.zones.query(queue, "slot:", "slot;")
        return [str(row.values["execution_id"]) async for row in rows]

    async def listed(self) -> list[tuple[str, str]]:
        """Execution id and state of every row of today's list."""
        day = f"{self.clock.now():%Y%m%d}"
        rows = [row async for row in self.storage.days.query(day, "", "~")]
        return [(str(row.values["execution_id"]), str(row.values["state"])) for row in rows]

    async def poisoned(self, zone: str = "UTC") -> list[str]:
        """The texts in a zone's poison queue."""
        queue = poison_queue_name(self.app.dispatcher.queue_of(zone))
        await self.host.show(early=True)
        received = await self.storage.queues.receive(queue, hidden_seconds=1, limit=32)
        return [message.text for message in received]

    async def assert_nothing_left(self) -> None:
        """Nothing of unfinished work is left, in no table and no queue, and nothing crashed."""
        for crash in self.host.crashes:
            raise crash
        assert self.failures == []
        assert await self.leftovers() == []
        queues = [self.app.dispatcher.queue_of(zone) for zone in (*DECLARED, UNDECLARED)]
        for queue in (*queues, relay_queue_name(self.settings.name)):
            assert await self.storage.queues.length(queue) == 0

    async def close(self) -> None:
        """Ends what is still held, and closes all connections."""
        await self.host.close()
        for app in self._instances:
            await app.close()
        await self.storage.close()


class Watch(logging.Handler):
    """Takes note of failures that are logged and not raised."""

    def __init__(self, failures: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._failures = failures

    def emit(self, record: logging.LogRecord) -> None:
        """Notes a record whose action is a failure of our own."""
        if getattr(record, "action", None) in FAILURES:
            self._failures.append(record.getMessage())


type Simulated = Callable[..., Awaitable[Simulation]]
"""Makes a simulation with settings of the test's choice, closed when the test ends."""


@asynccontextmanager
async def simulated(azurite: str, name: str, **settings: Any) -> AsyncIterator[Simulation]:  # noqa: ANN401
    """A simulation that is closed at the end."""
    async with failing_server() as failing_url:
        simulation = Simulation(azurite, name, failing_url, **settings)
        watch = Watch(simulation.failures)
        log = logging.getLogger("scheduler")
        log.addHandler(watch)
        try:
            yield simulation
        finally:
            log.removeHandler(watch)
            await simulation.close()
