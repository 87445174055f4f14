"""The host's side of a simulation: takes real messages from queues and hands them to the app."""

import asyncio

from scheduler.app import App
from scheduler.dispatch.queue_names import poison_queue_name, relay_queue_name
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.storage.queues import Queues, Received
from tests.storage.scripted import WORKER, Script
from tests.storage.wire import Killed, Wire

HIDDEN_SECONDS = 600
"""How long a message is hidden whose worker died."""
RETRY_SECONDS = 30
MAX_DEQUEUE_COUNT = 10
"""After so many deliveries that failed a message goes to its queue's poison queue."""


class Host:
    """Stands in for the Functions host: each message is handled by a worker, a task of its own."""

    def __init__(self, queues: Queues, wire: Wire, script: Script) -> None:
        self._queues = queues
        self._wire = wire
        self._script = script
        self.workers: set[asyncio.Task[None]] = set()
        self.faults: list[str] = []
        """Storage faults that reached the host: it lets the message come back."""
        self.crashes: list[BaseException] = []
        """All other errors that reached the host: each is a bug."""

    async def deliver(self, app: App) -> bool:
        """Handles every message that is visible to the host now; False when nothing happened."""
        before = len(self.workers)
        taken = await self.take(app)
        for queue, message in taken:
            self.workers.add(asyncio.create_task(self._handle(app, queue, message)))
        await self.settled()
        return bool(taken) or len(self.workers) < before

    async def take(self, app: App) -> list[tuple[str, Received]]:
        """Receives the messages that are visible to the host now; they are not handled yet."""
        await self.show()
        served = {app.dispatcher.queue_of(zone) for zone in app.settings.timezones}
        served.add(relay_queue_name(app.settings.name))
        visible = {one.queue for one in self._wire.flying.values() if not one.hidden}
        return [
            (queue, message)
            for queue in sorted(visible & served)
            for message in await self._queues.receive(
                queue, hidden_seconds=HIDDEN_SECONDS, limit=32
            )
        ]

    async def hand_over(self, app: App, queue: str, message: Received) -> None:
        """Handles one message that was taken, as far as a step that the test holds."""
        self.workers.add(asyncio.create_task(self._handle(app, queue, message)))
        await self.settled()

    async def settled(self) -> None:
        """Waits until every message is handled, or held by a step that the test holds."""
        while True:
            self.workers = {task for task in self.workers if not task.done()}
            self._script.changed.clear()
            if len(self.workers) <= self._script.held:
                return
            change = asyncio.create_task(self._script.changed.wait())
            await asyncio.wait({*self.workers, change}, return_when=asyncio.FIRST_COMPLETED)
            change.cancel()

    async def _handle(self, app: App, queue: str, message: Received) -> None:
        task = asyncio.current_task()
        assert task is not None
        WORKER.set(task)
        try:
            if queue == relay_queue_name(app.settings.name):
                await app.relay.handle(message.text)
            else:
                await app.engine.handle(queue, message.text, message.dequeue_count)
        except (StorageUnavailable, ConflictingWrite) as error:
            self.faults.append(error.message)
            await self._fail(queue, message)
        except Killed:
            return  # Its message comes back when it has been hidden for long enough.
        except Exception as error:
            self.crashes.append(error)
            await self._fail(queue, message)
        else:
            await self._delete(queue, message)

    async def _fail(self, queue: str, message: Received) -> None:
        if message.dequeue_count >= MAX_DEQUEUE_COUNT:
            await self._queues.send(poison_queue_name(queue), message.text)
            await self._delete(queue, message)
        else:
            await self._queues.hide(queue, message, seconds=RETRY_SECONDS)

    async def _delete(self, queue: str, message: Received) -> None:
        try:
            await self._queues.delete(queue, message)
        except ConflictingWrite as error:
            self.faults.append(error.message)

    async def show(self, *, early: bool = False) -> None:
        """Makes the messages visible whose simulated instant has come; with `early` all of them."""
        for message_id, flying in list(self._wire.flying.items()):
            if flying.hidden and (early or flying.at <= self._wire.clock.now()):
                received = Received(message_id, flying.receipt, "", 0)
                await self._queues.hide(flying.queue, received, seconds=0)

    async def lose_messages(self, of: str = "") -> None:
        """Removes every message from every queue whose name has `of` in it."""
        for message_id, flying in list(self._wire.flying.items()):
            if of in flying.queue:
                received = Received(message_id, flying.receipt, "", 0)
                await self._queues.delete(flying.queue, received)

    async def kill_workers(self) -> None:
        """Ends every worker where it stands, as a machine that is switched off."""
        for task in self.workers:
            task.cancel()
        await asyncio.sleep(0)

    async def close(self) -> None:
        """Ends what is still held."""
        await self.kill_workers()
        await asyncio.gather(*self.workers, return_exceptions=True)
