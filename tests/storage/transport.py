"""The fault-injecting transport of the Azure SDK: below its retries, above the connection.

It is the one place under the repetitions of tables, queues and blobs that all three let a caller
replace; a policy of our own could be put there for none of them.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from azure.core.exceptions import (
    ServiceRequestError,
    ServiceRequestTimeoutError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from azure.core.pipeline.transport import AioHttpTransport

from tests.storage.request_kinds import kind_of
from tests.storage.wire import Fault, Instance, Mode, Wire

TIMEOUT_SECONDS = 10
"""How long the SDK waits for a connection or a reply; `storage_timeout_seconds` by default."""
HIDDEN_SECONDS = 600_000
_STATUS = {Mode.BUSY: 503, Mode.ERROR: 500, Mode.ERROR_AFTER: 500}
_HIDING = re.compile(r"visibilitytimeout=(\d+)")


class SimulatedTransport(AioHttpTransport):  # type: ignore[misc]
    """The transport of one instance; without one, the host's: neither counted nor broken."""

    def __init__(self, wire: Wire, instance: Instance | None = None) -> None:
        super().__init__(use_env_settings=False)
        self._wire = wire
        self._instance = instance

    async def sleep(self, duration: float) -> None:
        """Lets the simulated clock do the waiting between the SDK's retries."""
        self._wire.clock.advance(duration)

    async def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401
        """Sends one request, or fails as the wire has it.

        Raises:
            Killed: the instance is dead, or dies here.
        """
        kind = kind_of(request)
        if self._instance is None:
            return await self._pass(request, kind, options)
        self._instance.require_life()
        fault = await self._wire.requested(kind)
        self._instance.require_life()
        if fault is None:
            response = await self._under_way(request, kind, options)
        else:
            response = await self._fail(fault, request, kind, options)
        self._instance.require_life()
        return response

    async def _fail(
        self,
        fault: Fault,
        request: Any,  # noqa: ANN401
        kind: str,
        options: dict[str, Any],
    ) -> Any:  # noqa: ANN401
        mode = fault.mode
        await self._before(mode, fault, kind)
        if mode in (Mode.BUSY, Mode.ERROR):
            return await self._refuse(mode, request, options)
        response = await self._under_way(request, kind, options)
        if mode is Mode.ERROR_AFTER:
            response.internal_response.close()
            return await self._refuse(mode, request, options)
        self._after(mode, kind)
        return response

    async def _before(self, mode: Mode, fault: Fault, kind: str) -> None:
        match mode:
            case Mode.REFUSED:
                raise ServiceRequestError(f"refused by the test: {kind}")
            case Mode.TIMEOUT_BEFORE:
                self._wire.clock.advance(TIMEOUT_SECONDS)
                raise ServiceRequestTimeoutError(f"no connection, by the test: {kind}")
            case Mode.KILLED_BEFORE:
                self._kill()
            case Mode.LATE:
                await self._wire.quiet()
            case Mode.HELD:
                fault.reached.set()
                await fault.released.wait()

    def _after(self, mode: Mode, kind: str) -> None:
        match mode:
            case Mode.DROPPED:
                raise ServiceRequestError(f"the connection was dropped by the test: {kind}")
            case Mode.LOST:
                raise ServiceResponseError(f"its reply was lost by the test: {kind}")
            case Mode.TIMEOUT_AFTER:
                self._wire.clock.advance(TIMEOUT_SECONDS)
                raise ServiceResponseTimeoutError(f"no reply in time, by the test: {kind}")
            case Mode.KILLED_AFTER:
                self._kill()

    def _kill(self) -> None:
        assert self._instance is not None
        self._instance.kill()
        self._instance.require_life()

    async def _under_way(self, request: Any, kind: str, options: dict[str, Any]) -> Any:  # noqa: ANN401
        assert self._instance is not None
        self._instance.require_life()
        with self._wire.under_way():
            response = await self._pass(request, kind, options)
            if self._wire.watcher is not None:
                await self._wire.watcher(kind, request)
            return response

    async def _refuse(self, mode: Mode, request: Any, options: dict[str, Any]) -> Any:  # noqa: ANN401
        url, request.url = request.url, f"{self._wire.failing_url}{_STATUS[mode]}"
        try:
            return await super().send(request, **options)
        finally:
            request.url = url

    async def _pass(self, request: Any, kind: str, options: dict[str, Any]) -> Any:  # noqa: ANN401
        url = request.url
        hiding = _HIDING.search(url)
        hidden = int(hiding[1]) if hiding else 0
        if hidden:
            request.url = _HIDING.sub(f"visibilitytimeout={HIDDEN_SECONDS}", url)
        try:
            response = await super().send(request, **options)
        finally:
            request.url = url
        if "/messages" in url and " peek" not in kind:
            self._wire.noted(kind, urlsplit(url).path, hidden, response)
        return response
