"""Takes messages from queues as the host does: 16 at a time, up to 32 of each queue at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from benchmarks.bench import HOST_BATCH

NEW_BATCH_AT = 16
"""While no more are under way the next are taken: `newBatchThreshold` of host.json."""
DEADLINE_SECONDS = 600
_PAUSE_SECONDS = 0.1
"""Between two looks at an empty queue; the host's first one."""

type Receive[M] = Callable[[str, int], Awaitable[Sequence[M]]]
type Handle[M] = Callable[[str, M], Awaitable[None]]


async def pump[M](
    queues: Sequence[str], finished: Callable[[], bool], receive: Receive[M], handle: Handle[M]
) -> None:
    """Takes and handles messages until all is finished after one; `handle` deletes each.

    Raises:
        TimeoutError: it is not within ten minutes.
    """
    done = asyncio.Event()

    async def work(queue: str, message: M) -> None:
        await handle(queue, message)
        if finished():
            done.set()

    async def serve(queue: str, tasks: asyncio.TaskGroup) -> None:
        running: set[asyncio.Task[None]] = set()
        while not done.is_set():
            if len(running) > NEW_BATCH_AT:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                continue
            taken = await receive(queue, HOST_BATCH)
            for message in taken:
                task = tasks.create_task(work(queue, message))
                running.add(task)
                task.add_done_callback(running.discard)
            if not taken:
                with suppress(TimeoutError):
                    await asyncio.wait_for(done.wait(), _PAUSE_SECONDS)

    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:
        for queue in queues:
            tasks.create_task(serve(queue, tasks))
