"""Queues: base64 text messages that never expire, made at their first use."""

import base64
from dataclasses import dataclass

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueClient, QueueServiceClient

from scheduler.storage.failures import storage_failures

NEVER = -1
"""The time to live of a message that does not expire."""


@dataclass(frozen=True, slots=True)
class Received:
    """A message taken from a queue, hidden from others for a while."""

    id: str
    receipt: str
    text: str
    dequeue_count: int


class Queues:
    """The account's queues, by name."""

    def __init__(self, service: QueueServiceClient) -> None:
        self._service = service
        self._clients: dict[str, QueueClient] = {}

    def _client(self, queue: str) -> QueueClient:
        if queue not in self._clients:
            self._clients[queue] = self._service.get_queue_client(
                queue, message_encode_policy=TextBase64EncodePolicy()
            )
        return self._clients[queue]

    async def send(self, queue: str, text: str, *, delay_seconds: float = 0) -> None:
        """Puts a message that becomes visible after the delay, rounded down to whole seconds.

        Raises:
            StorageUnavailable: storage cannot be reached; the message may have been sent.
        """
        client = self._client(queue)
        hidden = max(0, int(delay_seconds))
        with storage_failures(f"send to {queue}"):
            try:
                await client.send_message(text, visibility_timeout=hidden, time_to_live=NEVER)
            except ResourceNotFoundError:
                await self._create(client)
                await client.send_message(text, visibility_timeout=hidden, time_to_live=NEVER)

    async def _create(self, client: QueueClient) -> None:
        try:
            await client.create_queue()
        except ResourceExistsError:
            return

    async def has_visible(self, queue: str) -> bool:
        """Whether a message could be received right now; False for a queue that is not there.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"peek {queue}"):
            try:
                return bool(await self._client(queue).peek_messages(max_messages=1))
            except ResourceNotFoundError:
                return False

    async def length(self, queue: str) -> int:
        """How many messages the queue holds, hidden ones too; 0 for one that is not there.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"measure {queue}"):
            try:
                properties = await self._client(queue).get_queue_properties()
            except ResourceNotFoundError:
                return 0
        return int(properties.approximate_message_count or 0)

    async def receive(self, queue: str, *, hidden_seconds: int, limit: int = 1) -> list[Received]:
        """Takes up to `limit` (at most 32) messages, and hides them from others.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        messages: list[Received] = []
        pages = self._client(queue).receive_messages(
            messages_per_page=limit, visibility_timeout=hidden_seconds, max_messages=limit
        )
        with storage_failures(f"receive from {queue}"):
            try:
                async for message in pages:
                    messages.append(
                        Received(
                            id=message.id,
                            receipt=message.pop_receipt or "",
                            text=_decoded(message.content),
                            dequeue_count=int(message.dequeue_count or 0),
                        )
                    )
            except ResourceNotFoundError:
                return []
        return messages

    async def hide(self, queue: str, message: Received, *, seconds: int) -> Received:
        """Hides a received message anew, for `seconds` from now.

        Raises:
            ConflictingWrite: it has been received by another since.
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"hide in {queue}"):
            updated = await self._client(queue).update_message(
                message.id, message.receipt, visibility_timeout=seconds
            )
        return Received(message.id, updated.pop_receipt or "", message.text, message.dequeue_count)

    async def delete(self, queue: str, message: Received) -> None:
        """Removes a received message; one that is gone already is no error.

        Raises:
            ConflictingWrite: it has been received by another since.
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"delete from {queue}"):
            try:
                await self._client(queue).delete_message(message.id, message.receipt)
            except ResourceNotFoundError:
                return

    async def ensure(self, queue: str) -> None:
        """Makes the queue when it is not there.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"create {queue}"):
            await self._create(self._client(queue))


def _decoded(content: str) -> str:
    """A message's text. One that is no base64 stays as it is: it must not hold up its batch."""
    try:
        return base64.b64decode(content, validate=True).decode()
    except ValueError:
        return content
