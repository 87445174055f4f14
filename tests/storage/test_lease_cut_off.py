"""A worker that is cut off from storage. In real time, fifteen times as fast."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from azure.core.exceptions import ServiceRequestTimeoutError
from azure.core.pipeline.transport import AioHttpTransport
from cryptography.fernet import Fernet

from scheduler.app import App
from scheduler.clock import SystemClock
from scheduler.dispatch.ids import ExecutionId, key_of
from scheduler.settings import Settings
from steps.contract import StepContext, StepResult
from tests.storage.accidents import PATIENCE_SECONDS, until
from tests.storage.scripted import Script, scripted_registry
from tests.storage.service import with_token
from tests.storage.simulation import AUTHOR, CALLER, START
from tests.storage.wire import ManualClock

SCALE = 15
SECONDS = {
    "lease_seconds": 60,
    "lease_renewal_seconds": 15,
    "max_clock_skew_seconds": 30,
    "cancel_grace_seconds": 10,
    "storage_timeout_seconds": 10,
}
"""As by default, before they are scaled down."""
BODY = {"id": "job", "name": "job", "steps": [{"id": "one", "type": "scripted"}]}


@dataclass
class Line:
    """The connection of one instance to storage."""

    cut: bool = False


class ScaledTransport(AioHttpTransport):  # type: ignore[misc]
    """The SDK's own transport; while the line is cut, each try takes its time, and fails."""

    def __init__(self, line: Line) -> None:
        super().__init__()
        self._line = line

    async def sleep(self, duration: float) -> None:
        """Waits between the SDK's retries."""
        await asyncio.sleep(duration / SCALE)

    async def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401
        """Sends one request, if it can."""
        if self._line.cut:
            await asyncio.sleep(SECONDS["storage_timeout_seconds"] / SCALE)
            raise ServiceRequestTimeoutError("no connection, by the test")
        return await super().send(request, **options)


@asynccontextmanager
async def instance(azurite: str, name: str, script: Script, line: Line) -> AsyncIterator[App]:
    """An instance of the app with the clock of this machine."""
    settings = Settings.model_validate(
        {
            "name": name,
            "timezones": ("UTC",),
            "storage_connection_string": with_token(azurite),
            "encryption_keys": (Fernet.generate_key().decode(),),
            **{setting: seconds / SCALE for setting, seconds in SECONDS.items()},
        }
    )
    app = App(
        settings,
        clock=SystemClock(),
        transport=lambda: ScaledTransport(line),
        registry=scripted_registry(script),
    )
    try:
        yield app
    finally:
        await app.close()


async def test_a_worker_that_cannot_renew_its_lease_has_stopped_its_step_before_the_lease_ends(
    azurite: str, scheduler_name: str
) -> None:
    line, ended = Line(), list[datetime]()
    script = Script(ManualClock(START))

    async def work(script: Script, context: StepContext) -> StepResult:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(datetime.now(UTC))
        return StepResult()

    script.acts["one"] = [work]
    async with (
        instance(azurite, scheduler_name, script, line) as app,
        instance(azurite, scheduler_name, script, Line()) as onlooker,
    ):
        reply = await app.executions.execute(CALLER, AUTHOR, BODY, 0)
        queue = app.dispatcher.queue_of("UTC")
        (message,) = await app.storage.queues.receive(queue, hidden_seconds=600)
        worker = asyncio.create_task(app.engine.handle(queue, message.text, 1))
        await until(lambda: script.busy)
        line.cut = True
        await until(lambda: ended)
        line.cut = False
        async with asyncio.timeout(PATIENCE_SECONDS):
            await worker
        record = await onlooker.store.step(key_of(ExecutionId(reply.execution_id)), 0)
    assert record is not None
    assert record.value.lease_until is not None
    assert ended[0] < record.value.lease_until
    assert record.value.status == "running"  # nothing more was written: it will be taken over
    assert len(script.ran) == 1
