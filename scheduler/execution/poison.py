"""Looks after the poison queues: what is still of use goes back, what is unreadable stays."""

from scheduler.dispatch.dispatcher import Dispatcher, Outgoing, ZoneQueue
from scheduler.dispatch.messages import decode
from scheduler.dispatch.queue_names import poison_queue_name
from scheduler.dispatch.run_index import RunIndex
from scheduler.errors import ConflictingWrite, UnreadableMessage
from scheduler.storage.queues import Queues, Received
from scheduler.telemetry import get_logger

log = get_logger(__name__)
KEPT_HIDDEN_SECONDS = 300
_BATCH = 32


class PoisonWatch:
    """Sends messages of unfinished runs again that the host gave up on."""

    def __init__(self, queues: Queues, runs: RunIndex, dispatcher: Dispatcher) -> None:
        self._queues = queues
        self._runs = runs
        self._dispatcher = dispatcher

    async def look(self, zone: ZoneQueue) -> None:
        """Looks at up to 32 messages that a zone's queue gave up on.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        poison = poison_queue_name(zone.queue)
        for message in await self._queues.receive(
            poison, hidden_seconds=KEPT_HIDDEN_SECONDS, limit=_BATCH
        ):
            if await self._send_again(zone, message):
                await self._delete(poison, message)

    async def _send_again(self, zone: ZoneQueue, received: Received) -> bool:
        """Whether the message may go: it was sent again, or its run is over."""
        try:
            message = decode(received.text)
        except UnreadableMessage as error:
            log.error(
                "a message that cannot be read is kept: %s",
                error.message,
                extra={"action": "poison_kept", "queue": zone.queue, "error_code": error.code},
            )
            return False
        if message.execution_id is None:
            return True
        if await self._runs.get(zone.queue, message.execution_id) is not None:
            log.warning(
                "a message that was given up is sent again",
                extra={"action": "poison_sent_again", "execution_id": message.execution_id},
            )
            await self._dispatcher.send_to(zone.queue, [Outgoing(message)])
        return True

    async def _delete(self, queue: str, message: Received) -> None:
        try:
            await self._queues.delete(queue, message)
        except ConflictingWrite:
            log.info("another looks after it", extra={"action": "poison_skipped", "queue": queue})
