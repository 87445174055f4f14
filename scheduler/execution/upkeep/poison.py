"""Looks after the poison queues: what is still of use goes back, what cannot be read stays.

What stays is looked at again each time: an app of a later version may be able to read it.
"""

from collections.abc import Awaitable, Callable

from scheduler.dispatch.dispatcher import Dispatcher, Outgoing, ZoneQueue
from scheduler.dispatch.messages import Message, decode
from scheduler.dispatch.queue_names import poison_queue_name
from scheduler.dispatch.run_index import RunIndex
from scheduler.errors import ConflictingWrite, StorageUnavailable, UnreadableMessage
from scheduler.storage.queues import Queues, Received
from scheduler.telemetry import bound, get_logger

log = get_logger(__name__)
HIDDEN_SECONDS = 300
"""For how long a message is hidden that is looked at, should the look not come to its end."""
MAX_MESSAGES = 640
"""So many of a queue are looked at in one go."""
_BATCH = 32
_MAX_FAULTS = 2


class PoisonWatch:
    """Sends messages again that were given up, as long as they are of use.

    A message is removed only after it was sent again.
    """

    def __init__(
        self, queues: Queues, runs: RunIndex, dispatcher: Dispatcher, relay_queue: str
    ) -> None:
        self._queues = queues
        self._runs = runs
        self._dispatcher = dispatcher
        self._relay_queue = relay_queue

    async def look(self, zone: ZoneQueue) -> int:
        """Looks at the messages that a zone's queue gave up on; how many were sent again.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """

        async def send_again(message: Message) -> bool:
            if message.execution_id is None:
                return False
            if not await self._runs.has(zone.queue, message.execution_id):
                return False
            await self._dispatcher.send_to(zone.queue, [Outgoing(message)])
            return True

        return await self._look(zone.queue, send_again)

    async def look_at_relay(self) -> int:
        """Looks at the messages that the relay queue gave up on; how many were sent again.

        A nudge is repeated; the part of a tick is not: the next tick meets the same rows.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """

        async def send_again(message: Message) -> bool:
            if message.queue is None or not self._dispatcher.is_zone_queue(message.queue):
                return False
            await self._dispatcher.nudge(message.queue)
            return True

        return await self._look(self._relay_queue, send_again)

    async def _look(self, queue: str, send_again: Callable[[Message], Awaitable[bool]]) -> int:
        poison = poison_queue_name(queue)
        sent, kept = 0, list[Received]()
        faults: list[StorageUnavailable] = []
        with bound(queue=queue):
            for _ in range(MAX_MESSAGES // _BATCH):
                batch = await self._queues.receive(
                    poison, hidden_seconds=HIDDEN_SECONDS, limit=_BATCH
                )
                for received in batch:
                    try:
                        again = await self._one(poison, received, send_again)
                    except StorageUnavailable as error:
                        faults.append(error)
                        continue
                    sent += again is True
                    if again is None:
                        kept.append(received)
                if len(batch) < _BATCH or len(faults) >= _MAX_FAULTS:
                    break
            for received in kept:
                await self._show(poison, received)
        if faults:
            raise faults[0]
        return sent

    async def _one(
        self, poison: str, received: Received, send_again: Callable[[Message], Awaitable[bool]]
    ) -> bool | None:
        """Whether a message was sent again; None when it has to be kept."""
        try:
            message = decode(received.text)
        except UnreadableMessage as error:
            if received.dequeue_count <= 1:
                log.error(
                    "a message that cannot be read is kept: %s",
                    error.message,
                    extra={"action": "poison_kept", "error_code": error.code},
                )
            return None
        with bound(execution_id=message.execution_id):
            again = await send_again(message)
            if again:
                text, action = "a message that was given up is sent again", "poison_sent_again"
            else:
                text, action = "a message of nothing unfinished is dropped", "poison_dropped"
            log.warning(text, extra={"action": action})
            await self._delete(poison, received)
        return again

    async def _delete(self, poison: str, received: Received) -> None:
        try:
            await self._queues.delete(poison, received)
        except ConflictingWrite:
            log.info("another looks after it", extra={"action": "poison_skipped"})

    async def _show(self, poison: str, received: Received) -> None:
        """Lets a message be seen that stays: somebody may want to look at its text."""
        try:
            await self._queues.hide(poison, received, seconds=0)
        except ConflictingWrite:
            return
