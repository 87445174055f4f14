"""The floor of a chain: the least that keeps a record, by the bare SDK, and nothing else.

For each step a transaction of the run's row and the step's, the next message, and the deletion of
the one that asked for it; many messages are received at once.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from azure.data.tables.aio import TableClient, TableServiceClient
from azure.storage.queue import QueueMessage, TextBase64DecodePolicy, TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from benchmarks.bench import HIDDEN_SECONDS, Bench
from benchmarks.pump import pump
from tests.storage.counting import CountingTransport, Tally

TABLE = "floorExecutions"
_PAYLOAD = {"payload": "x" * 400}
_SENDS = 32


class ChainFloor:
    """Runs chains by the bare SDK; made by `chain_floor`."""

    def __init__(
        self,
        tally: Tally,
        table: TableClient,
        service: QueueServiceClient,
        queues: Sequence[str],
        steps: int,
    ) -> None:
        self.tally = tally
        self._table = table
        self._steps = steps
        self._done = 0
        self._queues = {
            name: service.get_queue_client(
                name,
                message_encode_policy=TextBase64EncodePolicy(),
                message_decode_policy=TextBase64DecodePolicy(),
            )
            for name in queues
        }

    async def create(self) -> None:
        """Makes table and queues."""
        await self._table.create_table()
        for client in self._queues.values():
            await client.create_queue()

    async def start(self, name: str, count: int) -> None:
        """Sends the first message of so many chains, spread over the queues."""
        clients = list(self._queues.values())
        gate = asyncio.Semaphore(_SENDS)

        async def send(number: int) -> None:
            async with gate:
                text = json.dumps({"run": f"{name}-{number}", "step": 0})
                await clients[number % len(clients)].send_message(text, time_to_live=-1)

        await asyncio.gather(*map(send, range(count)))

    async def run(self, count: int) -> None:
        """Runs so many chains to their end."""
        end = self._done + count * self._steps
        await pump(list(self._queues), lambda: self._done == end, self._receive, self._handle)

    async def _receive(self, queue: str, limit: int) -> list[QueueMessage]:
        pages = self._queues[queue].receive_messages(
            messages_per_page=limit, max_messages=limit, visibility_timeout=HIDDEN_SECONDS
        )
        return [message async for message in pages]

    async def _handle(self, queue: str, message: QueueMessage) -> None:
        asked = json.loads(message.content)
        run, step = asked["run"], asked["step"]
        client = self._queues[queue]
        operations: list[tuple[str, dict[str, Any]]] = [
            ("upsert", {"PartitionKey": run, "RowKey": "run", **_PAYLOAD}),
            ("create", {"PartitionKey": run, "RowKey": f"step:{step}", **_PAYLOAD}),
        ]
        await self._table.submit_transaction(operations)
        if step + 1 < self._steps:
            text = json.dumps({"run": run, "step": step + 1})
            await client.send_message(text, time_to_live=-1)
        await client.delete_message(message)
        self._done += 1


@asynccontextmanager
async def chain_floor(bench: Bench, queues: int, steps: int) -> AsyncIterator[ChainFloor]:
    """A floor with so many queues and a table of its own, on the bench's emulator."""
    tally = Tally()
    connection = bench.connection_string
    tables = TableServiceClient.from_connection_string(
        connection, transport=CountingTransport(tally)
    )
    service = QueueServiceClient.from_connection_string(
        connection, transport=CountingTransport(tally)
    )
    async with tables, service:
        names = [f"floor-{number}" for number in range(queues)]
        floor = ChainFloor(tally, tables.get_table_client(TABLE), service, names, steps)
        await floor.create()
        yield floor
