"""The dev host's HTTP server: every request goes to the worker's routes."""

import logging
from time import monotonic

from aiohttp import web

from tools.devhost.worker import Worker

log = logging.getLogger("devhost.http")

BODY_LIMIT = 100 * 1024 * 1024  # the host's own default, in bytes


class Server:
    """An HTTP server on the loopback interface."""

    def __init__(self, worker: Worker, grace_seconds: float) -> None:
        """Serves nothing until `start`; the grace is for requests that run at the stop."""
        self._worker = worker
        app = web.Application(client_max_size=BODY_LIMIT)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=grace_seconds, auto_decompress=False
        )

    async def start(self, port: int) -> int:
        """Listens on 127.0.0.1 and returns the port; 0 lets the system choose one.

        Raises:
            OSError: when the port is taken.
        """
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Takes no new requests and waits for those that run."""
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        started = monotonic()
        headers = [*request.headers.items(), ("X-Forwarded-For", str(request.remote))]
        body = await request.read()
        reply = await self._worker.http(request.method, request.url, headers, body)
        log.debug(
            "%s %s",
            request.method,
            request.path,
            extra={"status": reply.status, "duration_ms": round((monotonic() - started) * 1000)},
        )
        return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
