"""Queue triggers: polling, renewal, retries and poison queues, by the host's rules."""

import asyncio
import binascii
import logging
import os
import random
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

from azure.core.exceptions import (
    AzureError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.storage.queue import QueueMessage
from azure.storage.queue.aio import QueueServiceClient

from tools.devhost.errors import AppFailed, InvocationFailed
from tools.devhost.hostfile import QueueOptions, resolved
from tools.devhost.worker import Function, Worker

log = logging.getLogger("devhost.queues")

FIRST_PAUSE = 0.1  # seconds between two looks at an empty queue; doubles up to maxPollingInterval
LEASE_SECONDS = 600.0


class QueueTrigger:
    """One queue-triggered function with its queue; as the host, it does not create the queue."""

    def __init__(
        self, worker: Worker, function: Function, service: QueueServiceClient, options: QueueOptions
    ) -> None:
        """Raises AppFailed when a setting in the queue's name is missing."""
        name = resolved(str(function.trigger["queueName"]))
        self._worker = worker
        self._function = function
        self._queue = service.get_queue_client(name)
        self._poison = service.get_queue_client(f"{name}-poison")
        self._options = options
        self._lease = float(os.environ.get("DEVHOST_MESSAGE_LEASE_SECONDS", LEASE_SECONDS))
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Takes messages until `stop` is set, then waits for the running ones."""
        pause = FIRST_PAUSE
        while not stop.is_set():
            if len(self._running) > self._options.new_batch_threshold:
                await asyncio.wait(self._running, return_when=asyncio.FIRST_COMPLETED)
                continue
            batch = await self._receive()
            for message in batch:
                task = asyncio.create_task(self._process(message))
                self._running.add(task)
                task.add_done_callback(self._running.discard)
            if batch:
                pause = FIRST_PAUSE
                continue
            await _pause(pause * random.uniform(0.8, 1.2), stop)
            pause = min(pause * 2, max(self._options.max_polling_interval, FIRST_PAUSE))
        await asyncio.gather(*self._running)

    async def _receive(self) -> list[QueueMessage]:
        size = self._options.batch_size
        pages = self._queue.receive_messages(
            messages_per_page=size, max_messages=size, visibility_timeout=int(self._lease)
        ).by_page()
        try:
            async for page in pages:
                return [message async for message in page]
        except ResourceNotFoundError:
            return []
        except AzureError as error:
            log.warning("cannot read the queue %s: %s", self._queue.queue_name, _short(error))
        return []

    async def _process(self, message: QueueMessage) -> None:
        try:
            await self._handle(message)
        except AzureError as error:
            # The message comes back when its visibility ends.
            log.warning(
                "storage failed around a message of %s: %s",
                self._queue.queue_name,
                _short(error),
                extra={"message_id": message.id},
            )

    async def _handle(self, message: QueueMessage) -> None:
        text = self._decoded(message)
        if text is None or _count(message) > self._options.max_dequeue_count:
            await self._move_to_poison(message)
            return
        try:
            async with self._renewed(message):
                await self._worker.queue(
                    self._function.name, text, _count(message), _metadata(message)
                )
        except InvocationFailed as error:
            log.error(
                "%s\n%s",
                error,
                error.stack,
                extra={"message_id": message.id, "dequeue_count": _count(message)},
            )
            await self._give_back(message)
        else:
            await self._delete(message)

    def _decoded(self, message: QueueMessage) -> str | None:
        content = str(message.content)
        if not self._options.base64:
            return content
        try:
            return b64decode(content, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            log.error("a message is not base64 of UTF-8", extra={"message_id": message.id})
            return None

    @asynccontextmanager
    async def _renewed(self, message: QueueMessage) -> AsyncIterator[None]:
        done = asyncio.Event()
        renewal = asyncio.create_task(self._renew(message, done))
        try:
            yield
        finally:
            # Not cancelled: a renewal under way changes the receipt that the deletion needs.
            done.set()
            await renewal

    async def _renew(self, message: QueueMessage, done: asyncio.Event) -> None:
        while not await _pause(self._lease / 2, done):
            try:
                await self._hide(message, self._lease)
            except AzureError as error:
                log.warning(
                    "cannot renew a message of %s: %s",
                    self._queue.queue_name,
                    _short(error),
                    extra={"message_id": message.id},
                )
                if isinstance(error, HttpResponseError) and error.status_code in (400, 404):
                    return

    async def _give_back(self, message: QueueMessage) -> None:
        if _count(message) >= self._options.max_dequeue_count:
            await self._move_to_poison(message)
        else:
            await self._hide(message, self._options.visibility_timeout)

    async def _hide(self, message: QueueMessage, seconds: float) -> None:
        changed = await self._queue.update_message(
            message.id, message.pop_receipt, visibility_timeout=int(seconds)
        )
        message.pop_receipt = changed.pop_receipt

    async def _move_to_poison(self, message: QueueMessage) -> None:
        try:
            await self._poison.create_queue()
        except ResourceExistsError:
            log.debug("%s is there", self._poison.queue_name)
        await self._poison.send_message(message.content)
        await self._delete(message)
        log.error(
            "a message of %s has been moved to its poison queue",
            self._queue.queue_name,
            extra={"message_id": message.id, "dequeue_count": _count(message)},
        )

    async def _delete(self, message: QueueMessage) -> None:
        try:
            await self._queue.delete_message(message.id, message.pop_receipt)
        except HttpResponseError as error:
            if error.status_code not in (400, 404):
                raise
            log.warning(
                "a message of %s was taken by another before it could be deleted",
                self._queue.queue_name,
                extra={"message_id": message.id},
            )


def queue_service(function: Function) -> QueueServiceClient:
    """A client for the trigger's connection; raises AppFailed when its setting is missing."""
    setting = str(function.trigger.get("connection") or "AzureWebJobsStorage")
    value = os.environ.get(setting)
    if not value:
        raise AppFailed(f"the setting {setting}, a connection string, is not set")
    try:
        return QueueServiceClient.from_connection_string(
            value, retry_total=3, initial_backoff=0.2, increment_base=2, random_jitter_range=0
        )
    except ValueError as error:
        raise AppFailed(f"the setting {setting} is no connection string") from error


async def _pause(seconds: float, stop: asyncio.Event) -> bool:
    try:
        return await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False


def _count(message: QueueMessage) -> int:
    return int(message.dequeue_count or 1)


def _metadata(message: QueueMessage) -> dict[str, str]:
    return {
        "Id": str(message.id),
        "PopReceipt": str(message.pop_receipt),
        "InsertionTime": _instant(message.inserted_on),
        "ExpirationTime": _instant(message.expires_on),
        "NextVisibleTime": _instant(message.next_visible_on),
    }


def _instant(value: object) -> str:
    return value.isoformat(timespec="seconds") if isinstance(value, datetime) else ""


def _short(error: AzureError) -> str:
    return str(error).partition("\n")[0]
