"""The floor of a full minute: the same puts and transactions by the bare SDK, and nothing else.

In the order of a tick and at its concurrency: for each 100 runs a transaction, then their messages,
32 at a time; then the due rows, one transaction for each 33, all shards at once.
"""

import asyncio
from dataclasses import dataclass
from itertools import batched
from time import perf_counter, process_time
from typing import Any

from azure.core.exceptions import ResourceExistsError
from azure.data.tables.aio import TableClient, TableServiceClient
from azure.storage.queue import TextBase64EncodePolicy
from azure.storage.queue.aio import QueueServiceClient

from benchmarks.bench import Bench
from scheduler.dispatch.ids import SHARDS, scheduled_id, shard_of
from scheduler.dispatch.messages import Message, MessageKind

_SENDS = 32
_RUNS, _MOVES = 100, 33

type Operation = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Floor:
    """How long the bare writes took, and the processor time of this process."""

    seconds: float
    cpu_seconds: float


async def floor(bench: Bench, count: int, name: str) -> Floor:
    """Does the bare writes of `count` runs, in a queue and tables of this name."""
    jobs = [f"floor-{number}" for number in range(count)]
    starts = [_start(job, bench) for job in jobs]
    tables = TableServiceClient.from_connection_string(bench.connection_string)
    queues = QueueServiceClient.from_connection_string(bench.connection_string)
    async with tables, queues:
        zones = tables.get_table_client(f"{name}Zones")
        due = tables.get_table_client(f"{name}Jobs")
        queue = queues.get_queue_client(name, message_encode_policy=TextBase64EncodePolicy())
        for client in (zones.create_table(), due.create_table(), queue.create_queue()):
            await _made(client)
        gate = asyncio.Semaphore(_SENDS)

        async def send(text: str) -> None:
            async with gate:
                await queue.send_message(text, visibility_timeout=89, time_to_live=-1)

        began, cpu = perf_counter(), process_time()
        for some in batched(zip(jobs, starts, strict=True), _RUNS, strict=False):
            await zones.submit_transaction([_run(bench, job) for job, _ in some])
            await asyncio.gather(*(send(text) for _, text in some))
        await asyncio.gather(*(_move(due, bench, shard, jobs) for shard in SHARDS))
        return Floor(perf_counter() - began, process_time() - cpu)


async def _made(creation: Any) -> None:  # noqa: ANN401
    try:
        await creation
    except ResourceExistsError:
        return


async def _move(due: TableClient, bench: Bench, shard: str, jobs: list[str]) -> None:
    mine = [job for job in jobs if shard_of(job) == shard]
    for some in batched(mine, _MOVES, strict=False):
        await due.submit_transaction([one for job in some for one in _moved(bench, shard, job)])


def _start(job: str, bench: Bench) -> str:
    now = bench.clock.now()
    etag = f"W/\"datetime'{now:%Y-%m-%dT%H%%3A%M%%3A%S}.0000000Z'\""
    return Message(
        kind=MessageKind.START,
        execution_id=scheduled_id(job, now),
        due=now,
        etag=etag,
        revision="0" * 12,
    ).encode()


def _run(bench: Bench, job: str) -> Operation:
    now = bench.clock.now()
    row = {
        "PartitionKey": "zone",
        "RowKey": f"run:{scheduled_id(job, now)}",
        "v": 1,
        "timezone": "UTC",
        "trigger": "schedule",
        "scheduled": now,
        "due": now,
        "announced": now,
        "revision": "0" * 12,
        "skip_reason": "",
        "skip_count": 0,
    }
    return ("upsert", row)


def _moved(bench: Bench, shard: str, job: str) -> list[Operation]:
    now = bench.clock.now()
    row = {
        "PartitionKey": shard,
        "RowKey": f"due:{job}",
        "v": 1,
        "job_id": job,
        "timezone": "UTC",
        "schedule": "x" * 240,
        "revision": "0" * 12,
        "nominal": now,
        "at": now,
        "tzdata": "2026a",
        "since": now,
        "error": "",
    }
    pointer = {"PartitionKey": shard, "RowKey": f"next:{job}", "v": 1, "due_key": f"due:{job}"}
    old = {"PartitionKey": shard, "RowKey": f"old:{job}", "v": 1}
    return [("upsert", row), ("upsert", old), ("upsert", {**pointer, "nominal": now, "error": ""})]
