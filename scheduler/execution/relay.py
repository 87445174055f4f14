"""Serves the zones that have no trigger of their own: one nudge, one message of their queue."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.messages import decode
from scheduler.dispatch.queue_names import poison_queue_name
from scheduler.errors import ConflictingWrite, StorageUnavailable, UnreadableMessage
from scheduler.execution.engine import Engine
from scheduler.schedule.tick import Tick
from scheduler.settings import Settings
from scheduler.storage.queues import Queues, Received
from scheduler.telemetry import get_logger

log = get_logger(__name__)
HIDDEN_SECONDS = 60
RETRY_SECONDS = 30


class Relay:
    """Does for a zone's queue what the Functions host does where there is a trigger."""

    def __init__(
        self,
        engine: Engine,
        tick: Tick,
        queues: Queues,
        dispatcher: Dispatcher,
        settings: Settings,
    ) -> None:
        self._engine = engine
        self._tick = tick
        self._queues = queues
        self._dispatcher = dispatcher
        self._max_dequeue_count = settings.max_dequeue_count

    async def handle(self, text: str) -> None:
        """Takes one message from the queue that a nudge names, and handles it; or does a part of
        a tick that handed it on.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        try:
            message = decode(text)
        except UnreadableMessage as error:
            log.error("an unreadable nudge: %s", error.message, extra={"action": "nudge_dropped"})
            return
        if message.shard is not None:
            await self._tick.go_on(message.shard)
            return
        queue = message.queue
        if queue is None or not self._dispatcher.is_zone_queue(queue):
            log.error("a nudge for no zone's queue", extra={"action": "nudge_dropped"})
            return
        received = await self._queues.receive(queue, hidden_seconds=HIDDEN_SECONDS)
        if not received:
            return
        if await self._queues.has_visible(queue):
            await self._dispatcher.nudge(queue)
        await self._serve(queue, received[0])

    async def _serve(self, queue: str, received: Received) -> None:
        if received.dequeue_count > self._max_dequeue_count:
            await self._queues.send(poison_queue_name(queue), received.text)
            await self._queues.delete(queue, received)
            log.error("a message went to poison", extra={"action": "message_poisoned"})
            return
        holder = _Holder(received)
        try:
            async with self._renewed(queue, holder):
                await self._engine.handle(queue, received.text, received.dequeue_count)
        except Exception:
            log.exception("a relayed message failed", extra={"action": "message_failed"})
            await self._give_back(queue, holder.message)
            return
        try:
            await self._queues.delete(queue, holder.message)
        except ConflictingWrite:
            log.warning("a message came back while it ran", extra={"action": "message_redelivered"})

    async def _give_back(self, queue: str, message: Received) -> None:
        try:
            await self._queues.hide(queue, message, seconds=RETRY_SECONDS)
        except ConflictingWrite:
            return
        await self._dispatcher.nudge(queue, RETRY_SECONDS)

    @asynccontextmanager
    async def _renewed(self, queue: str, holder: "_Holder") -> AsyncIterator[None]:
        task = asyncio.create_task(self._keep(queue, holder))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self, queue: str, holder: "_Holder") -> None:
        while True:
            await asyncio.sleep(HIDDEN_SECONDS / 3)
            try:
                message = await self._queues.hide(queue, holder.message, seconds=HIDDEN_SECONDS)
            except ConflictingWrite:
                return
            except StorageUnavailable:
                continue
            holder.message = message

    async def sweep(self) -> None:
        """Nudges for every zone in use, without a trigger, whose queue has a visible message.

        Raises:
            StorageUnavailable: storage cannot be reached; the other zones are nudged all the same.
        """
        faults: list[StorageUnavailable] = []
        async for zone in self._dispatcher.zones_in_use():
            if self._dispatcher.is_declared(zone.queue):
                continue
            try:
                if await self._queues.has_visible(zone.queue):
                    await self._dispatcher.nudge(zone.queue)
            except StorageUnavailable as error:
                faults.append(error)
        for fault in faults:
            raise fault


class _Holder:
    """The message as last renewed: each renewal changes its receipt."""

    def __init__(self, message: Received) -> None:
        self.message = message
