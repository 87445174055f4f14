"""The host: starts the triggers of an app, and stops them in good order."""

import asyncio
import logging
import os
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path

from azure.storage.queue.aio import QueueServiceClient

from tools.devhost.queues import QueueTrigger, queue_service
from tools.devhost.timers import Timer
from tools.devhost.web import Server
from tools.devhost.worker import Worker

log = logging.getLogger("devhost")


@dataclass(frozen=True, slots=True)
class Options:
    """What to serve; `port` 0 lets the system choose, `grace_seconds` is for running work."""

    app_dir: Path
    port: int = 7071
    http: bool = True
    timers: bool = True
    queues: bool = True
    grace_seconds: float = 10


class Host:
    """One running host."""

    def __init__(self, worker: Worker, options: Options) -> None:
        """Serves nothing until `run`."""
        self._worker = worker
        self._options = options
        self._services: dict[str, QueueServiceClient] = {}
        self._server = Server(worker, options.grace_seconds)

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set, then finishes what runs, for the grace at most.

        Raises:
            AppFailed: when a binding or a setting is wrong.
            OSError: when the port is taken.
        """
        triggers = [*self._timers(stop), *self._queues(stop)]
        where = ""
        if self._options.http:
            port = await self._server.start(self._options.port)
            where = f" on http://127.0.0.1:{port}"
        tasks = [asyncio.create_task(trigger) for trigger in triggers]
        log.info(
            "dev host ready%s",
            where,
            extra={"functions": len(self._worker.functions), "pid": os.getpid()},
        )
        ended = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        for task in done - {ended}:
            task.result()
        await self._finish(tasks)

    async def _finish(self, tasks: list[asyncio.Task[None]]) -> None:
        log.info("dev host stops taking work")
        server = asyncio.create_task(self._server.stop())
        _, left = await asyncio.wait([server, *tasks], timeout=self._options.grace_seconds)
        if left:
            log.warning("work still runs at the end of the grace and is abandoned")
        for service in self._services.values():
            await service.close()
        log.info("dev host stopped")

    def _timers(self, stop: asyncio.Event) -> list[Coroutine[None, None, None]]:
        if not self._options.timers:
            return []
        functions = self._worker.functions.values()
        timers = [Timer(self._worker, one) for one in functions if one.kind == "timerTrigger"]
        return [timer.run(stop) for timer in timers]

    def _queues(self, stop: asyncio.Event) -> list[Coroutine[None, None, None]]:
        if not self._options.queues:
            return []
        options = self._worker.host_file.queues
        triggers = []
        for function in self._worker.functions.values():
            if function.kind == "queueTrigger":
                connection = str(function.trigger.get("connection"))
                if connection not in self._services:
                    self._services[connection] = queue_service(function)
                service = self._services[connection]
                triggers.append(QueueTrigger(self._worker, function, service, options))
        return [trigger.run(stop) for trigger in triggers]
