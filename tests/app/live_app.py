"""The function app in this process, behind plain calls: HTTP in, replies out, messages pumped."""

import asyncio
import logging
import os
import secrets
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Thread
from typing import Any
from unittest import mock

from azure.core.exceptions import ServiceRequestError
from azure.core.pipeline.transport import AioHttpTransport

import scheduler.app
from scheduler.app import App
from scheduler.storage.queues import Received
from tools.devhost.hostfile import resolved
from tools.devhost.wire import Response
from tools.devhost.worker import Function, Worker
from tools.process import ROOT

ADMIN = secrets.token_urlsafe(24)
_DEADLINE_SECONDS = 20
_PUMP_PAUSE_SECONDS = 0.02


class RecordingTransport(AioHttpTransport):  # type: ignore[misc]
    """The SDK's own transport, which notes every request and can be made to fail."""

    def __init__(self, owner: "LiveApp") -> None:
        super().__init__()
        self._owner = owner

    async def send(self, request: Any, **config: Any) -> Any:  # noqa: ANN401
        """Sends, unless storage is to look unreachable."""
        parts = list(_parts(request))
        unreachable = self._owner.unreachable
        if unreachable is not None and any(unreachable in url for _, url in parts):
            raise ServiceRequestError("connection refused by the test")
        self._owner.requests += parts
        return await super().send(request, **config)


class LiveApp:
    """The loaded app on an event loop of its own thread; calls are plain and block."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        """Loads `function_app.py` under these settings; they leave the environment afterwards."""
        self.name = settings["SCHEDULER_NAME"]
        self.connection = settings["AzureWebJobsStorage"]
        self.requests: list[tuple[str, str]] = []
        self.unreachable: str | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._loop.run_forever, name="live-app", daemon=True)
        self._thread.start()
        with mock.patch.dict(os.environ, settings), _log_filters_kept():
            self.worker = self.run(Worker.start(ROOT))
            self.app = self.run(self._build())
            self.loaded_at = datetime.now(UTC)
            self._queues = {
                resolved(str(function.trigger["queueName"])): function
                for function in self.worker.functions.values()
                if function.kind == "queueTrigger"
            }

    async def _build(self) -> App:
        recording = partial(App, transport=partial(RecordingTransport, self))
        with mock.patch.object(scheduler.app, "App", recording):
            app = scheduler.app.get_app()
        app.registry.types()
        return app

    def close(self) -> None:
        """Closes the app and ends its thread."""
        self.run(self.app.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine on the app's loop and waits for its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_DEADLINE_SECONDS * 2)

    def call(
        self,
        method: str,
        path: str,
        body: bytes | str | Mapping[str, Any] | list[Any] = b"",
        *,
        key: str | None = ADMIN,
        **headers: str,
    ) -> Response:
        """One request; `if_match=` is sent as the header `if-match`, `key=None` sends no key."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["X-API-Key"] = key
        request = self.worker.http(method, path, sent, body)
        return self.run(self._pumping(request) if "wait=" in sent.get("prefer", "") else request)

    async def _pumping(self, request: Coroutine[Any, Any, Response]) -> Response:
        """Answers a request that waits for what is in the queues, which are served meanwhile."""
        task = asyncio.create_task(request)
        while not task.done():
            done, _ = await asyncio.wait({task}, timeout=0.2)
            if not done:
                await self._pump()
        return task.result()

    def finish(self, execution_id: str) -> dict[str, Any]:
        """Serves the queues until the execution is finished, and returns it as read."""

        async def until_finished() -> None:
            while not (await self.app.execution_reader.read(execution_id)).finished:
                if not await self._pump():
                    await asyncio.sleep(_PUMP_PAUSE_SECONDS)

        self.run(asyncio.wait_for(until_finished(), _DEADLINE_SECONDS))
        document: dict[str, Any] = self.call("GET", f"/api/v2/executions/{execution_id}").json()
        return document

    async def _pump(self) -> int:
        """Hands every visible message of the triggers' queues to its function, as the host does."""
        counts = await asyncio.gather(*(self._drain(*one) for one in self._queues.items()))
        return sum(counts)

    async def _drain(self, queue: str, function: Function) -> int:
        queues = self.app.storage.queues
        received = await queues.receive(queue, hidden_seconds=30, limit=32)
        for message in received:
            await self._hand_over(function, message)
            await queues.delete(queue, message)
        return len(received)

    async def _hand_over(self, function: Function, message: Received) -> None:
        await self.worker.queue(function.name, message.text, message.dequeue_count)

    def message(self, function: str, text: str, dequeue_count: int = 1) -> None:
        """Hands one message to a queue trigger; raises InvocationFailed when that raises."""
        self.run(self.worker.queue(function, text, dequeue_count))

    def make_key(self, role: str, *step_types: str) -> str:
        """The text of a new API key."""
        body: dict[str, Any] = {"name": f"a key for {role}", "role": role}
        if step_types:
            body["step_types"] = list(step_types)
        reply = self.call("POST", "/api/v2/keys", body)
        assert reply.status == 201, reply.body
        return str(reply.json()["key"])

    @contextmanager
    def writes(self) -> Iterator[list[tuple[str, str]]]:
        """Gathers the writes to storage; the audit's rows are no part of them."""
        first = len(self.requests)
        found: list[tuple[str, str]] = []
        yield found
        audit = f"{self.name}Audit"
        found += [
            (method, url)
            for method, url in self.requests[first:]
            if method not in ("GET", "HEAD") and audit not in url
        ]

    @contextmanager
    def storage_down(self, part: str = "") -> Iterator[None]:
        """Makes requests to storage fail as a refused connection does: those with `part` in it."""
        self.unreachable = part
        try:
            yield
        finally:
            self.unreachable = None

    def audited(self, **wanted: str) -> list[Mapping[str, Any]]:
        """The audit rows of today and yesterday whose columns have these values."""

        async def rows() -> list[Mapping[str, Any]]:
            now = self.app.clock.now()
            days = [f"{day:%Y%m%d}" for day in (now, now - timedelta(days=1))]
            table = self.app.storage.audit
            return [row.values for day in days async for row in table.query(day, "", "~")]

        return [row for row in self.run(rows()) if wanted.items() <= row.items()]


def _parts(request: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401
    """The method and address of a request; of a transaction, those of each change in it."""
    if request.multipart_mixed_info:
        for part in request.multipart_mixed_info[0]:
            yield from _parts(part)
    else:
        yield str(request.method), str(request.url)


@contextmanager
def _log_filters_kept() -> Iterator[None]:
    """The app redacts what the root's handlers write; those of the test run stay as they are."""
    handlers = logging.getLogger().handlers
    kept = [(handler, list(handler.filters)) for handler in handlers]
    yield
    for handler, filters in kept:
        handler.filters[:] = filters
