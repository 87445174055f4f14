"""Wake rows: messages for an instant that is farther away than a message may be hidden."""

import asyncio
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import WAKE_PREFIX, Dispatcher
from scheduler.dispatch.ids import SHARDS
from scheduler.dispatch.messages import decode
from scheduler.dispatch.queue_names import poison_queue_name
from scheduler.errors import ConflictingWrite, UnreadableMessage
from scheduler.settings import Settings
from scheduler.storage.account import Storage
from scheduler.storage.keys import from_sortable, sortable
from scheduler.storage.tables import Delete, Row
from scheduler.telemetry import get_logger

log = get_logger(__name__)
MAX_ROWS_A_SHARD = 1_000


class Wakes:
    """Sends the messages of wake rows when their time is near."""

    def __init__(
        self, storage: Storage, dispatcher: Dispatcher, settings: Settings, clock: Clock
    ) -> None:
        self._storage = storage
        self._dispatcher = dispatcher
        self._horizon = timedelta(seconds=settings.tick_horizon_seconds)
        self._clock = clock

    async def run(self) -> None:
        """Sends what is due within the horizon, hidden until its instant, and removes its row.

        Raises:
            StorageUnavailable: storage cannot be reached; the next tick goes on.
        """
        until = self._clock.now() + self._horizon
        await asyncio.gather(*(self._shard(shard, until) for shard in SHARDS))

    async def _shard(self, shard: str, until: datetime) -> None:
        end = f"{WAKE_PREFIX}{sortable(until)}"
        rows = self._storage.jobs.query(shard, WAKE_PREFIX, end, limit=MAX_ROWS_A_SHARD)
        async for row in rows:
            try:
                await self._send(row)
            except (KeyError, ValueError, UnreadableMessage):
                log.exception("a wake row cannot be read", extra={"action": "wake_unreadable"})
                await self._put_aside(row)
            try:
                await self._storage.jobs.commit(shard, [Delete(row.key, row.etag)])
            except ConflictingWrite:
                continue

    async def _send(self, row: Row) -> None:
        at = from_sortable(row.key.removeprefix(WAKE_PREFIX).partition("Z:")[0] + "Z")
        message = decode(str(row.values["message"]))
        await self._dispatcher.send(str(row.values["timezone"]), message, at)

    async def _put_aside(self, row: Row) -> None:
        queue = self._dispatcher.queue_of(str(row.values.get("timezone") or "UTC"))
        text = str(row.values.get("message") or "")
        await self._storage.queues.send(poison_queue_name(queue), text)
