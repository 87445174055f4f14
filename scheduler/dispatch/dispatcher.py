"""Sends messages to the queue of their zone, and sees to it that somebody takes them from there."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import available_timezones

from scheduler.clock import Clock
from scheduler.dispatch.ids import ExecutionId, shard_of
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.queue_names import queue_name, relay_queue_name
from scheduler.settings import Settings
from scheduler.storage.account import Storage
from scheduler.storage.keys import sortable
from scheduler.storage.tables import Upsert
from scheduler.telemetry import get_logger

log = get_logger(__name__)
ZONES_PARTITION = "!zones"
WAKE_PREFIX = "wake:"
MAX_HIDDEN_SECONDS = 125
"""Hidden messages count as work to the platform's scaling, so longer waits are rows instead."""
NUDGE_DELAY_SECONDS = 2
_CONCURRENT_SENDS = 32


@dataclass(frozen=True, slots=True)
class ZoneQueue:
    """A zone in use: its IANA name and its queue."""

    timezone: str
    queue: str


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message and the instant before which it stays hidden; None: visible at once."""

    message: Message
    at: datetime | None = None


class Dispatcher:
    """The only sender of messages."""

    def __init__(self, storage: Storage, settings: Settings, clock: Clock) -> None:
        self._storage = storage
        self._name = settings.name
        self._clock = clock
        self._relay = relay_queue_name(settings.name)
        self._zone_prefix = f"{settings.name}-tz-"
        self._declared = {queue_name(settings.name, zone) for zone in settings.timezones}
        self._known: set[str] = set()
        self._told: set[str] = set()

    def queue_of(self, timezone: str) -> str:
        """The name of a zone's queue, which is also its partition in the Zones table."""
        return queue_name(self._name, timezone)

    def is_declared(self, queue: str) -> bool:
        """Whether a trigger of its own serves the queue; the relay serves all others."""
        return queue in self._declared

    def is_zone_queue(self, queue: str) -> bool:
        """Whether a name is that of a zone's queue, by its form."""
        return queue.startswith(self._zone_prefix)

    async def open_zone(self, timezone: str) -> str:
        """Makes a zone one of those in use, with its queue; returns the queue's name.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        queue = self.queue_of(timezone)
        if queue not in self._known:
            await self._storage.queues.ensure(queue)
            zone = Upsert(queue, {"v": 1, "timezone": timezone})
            await self._storage.zones.commit(ZONES_PARTITION, [zone])
            self._known.add(queue)
        return queue

    async def zones_in_use(self) -> AsyncIterator[ZoneQueue]:
        """Every zone that a job has named so far.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        async for row in self._storage.zones.query(ZONES_PARTITION, "0", "~"):
            timezone = str(row.values.get("timezone") or "") or self._timezone_of(row.key)
            if timezone:
                yield ZoneQueue(timezone, row.key)
            elif row.key not in self._told:
                self._told.add(row.key)
                log.error(
                    "a zone's row cannot be read, and is left out",
                    extra={"action": "zone_unreadable", "queue": row.key},
                )

    def _timezone_of(self, queue: str) -> str | None:
        """The zone whose queue this is, for a row that has lost its name."""
        return next((one for one in available_timezones() if self.queue_of(one) == queue), None)

    async def send(self, timezone: str, message: Message, at: datetime | None = None) -> None:
        """Sends one message to its zone.

        Raises:
            StorageUnavailable: storage cannot be reached; upkeep will find the run.
        """
        await self.send_all(timezone, [Outgoing(message, at)])

    async def send_all(self, timezone: str, outgoing: Sequence[Outgoing]) -> None:
        """Sends messages to a zone; each is hidden until its instant, 125 s at most.

        Raises:
            StorageUnavailable: storage cannot be reached; upkeep will find the runs.
        """
        await self.send_to(self.queue_of(timezone), outgoing)

    async def send_to(self, queue: str, outgoing: Sequence[Outgoing]) -> None:
        """Sends messages to a zone's queue, as `send_all` does.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        now = self._clock.now()
        delays = [_delay(item.at, now) for item in outgoing]
        gate = asyncio.Semaphore(_CONCURRENT_SENDS)

        async def send(item: Outgoing, delay: float) -> None:
            async with gate:
                text = item.message.encode()
                await self._storage.queues.send(queue, text, delay_seconds=delay)

        await asyncio.gather(*map(send, outgoing, delays))
        if not self.is_declared(queue):
            await self._nudge_all(queue, set(delays))

    async def _nudge_all(self, queue: str, delays: Iterable[float]) -> None:
        await asyncio.gather(*(self.nudge(queue, delay) for delay in delays))

    async def nudge(self, queue: str, delay: float = -NUDGE_DELAY_SECONDS) -> None:
        """Tells the relay to look at a queue, two seconds after the delay.

        Raises:
            StorageUnavailable: storage cannot be reached; the sweep of the tick will look.
        """
        message = Message(kind=MessageKind.NUDGE, queue=queue)
        await self._storage.queues.send(
            self._relay,
            message.encode(),
            delay_seconds=min(delay + NUDGE_DELAY_SECONDS, MAX_HIDDEN_SECONDS),
        )

    async def hand_on(self, shard: str) -> None:
        """Asks whoever is free to announce what falls due in a shard of the Jobs table.

        Raises:
            StorageUnavailable: storage cannot be reached; the next tick looks there anyway.
        """
        message = Message(kind=MessageKind.TICK, shard=shard)
        await self._storage.queues.send(self._relay, message.encode())

    async def is_time(self, at: datetime) -> bool:
        """Whether an instant has come; the last second before it is waited for.

        Queues hide messages for whole seconds. They are sent for the second before, since a late
        one could not be made up for.
        """
        early = (at - self._clock.now()).total_seconds()
        if early > 1:
            return False
        if early > 0:
            await self._clock.sleep(early)
        return True

    async def send_later(self, timezone: str, message: Message, at: datetime) -> None:
        """Sends a message for an instant that may be far away: over 120 s, by a wake row.

        Raises:
            StorageUnavailable: storage cannot be reached; upkeep will find the run.
        """
        if (at - self._clock.now()).total_seconds() <= 120:
            await self.send(timezone, message, at)
            return
        if message.execution_id is None:
            raise ValueError("only an execution's message can wait")
        row = Upsert(
            wake_key(at, message.execution_id, message.step or ""),
            {"v": 1, "timezone": timezone, "message": message.encode()},
        )
        await self._storage.jobs.commit(_shard(message.execution_id), [row])

    async def take_back(self, message: Message, at: datetime) -> None:
        """Removes a message's wake row, if it has one.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if message.execution_id is None:
            return
        key = wake_key(at, message.execution_id, message.step or "")
        await self._storage.jobs.remove(_shard(message.execution_id), [key])


def wake_key(at: datetime, execution_id: ExecutionId, step: str) -> str:
    """The row key of a wait."""
    return f"{WAKE_PREFIX}{sortable(at)}:{execution_id}:{step}"


def _shard(execution_id: ExecutionId) -> str:
    return shard_of(execution_id.partition(".")[0])


def _delay(at: datetime | None, now: datetime) -> float:
    if at is None:
        return 0
    return min(max((at - now).total_seconds(), 0), MAX_HIDDEN_SECONDS)
