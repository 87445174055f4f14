"""The service behind the wire: the emulator's account by a token, and a server that only fails."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from aiohttp import web
from azure.storage.queue import ResourceTypes, generate_account_sas

_CODES = {500: "InternalError", 503: "ServerBusy"}


def with_token(connection_string: str) -> str:
    """The same account by an access token, which does not sign what the transport rewrites."""
    parts = dict(part.split("=", 1) for part in connection_string.split(";") if part)
    token = generate_account_sas(
        parts["AccountName"],
        parts["AccountKey"],
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission="rwdlacup",
        expiry=datetime.now(UTC) + timedelta(hours=1),
        services="bqt",
        protocol="https,http",
    )
    ends = [f"{name}={value}" for name, value in parts.items() if name.endswith("Endpoint")]
    return ";".join([*ends, f"SharedAccessSignature={token}"])


@asynccontextmanager
async def failing_server() -> AsyncIterator[str]:
    """A server on loopback that answers with the status in a request's path; gives its address."""

    async def refuse(request: web.Request) -> web.Response:
        status = int(request.match_info["status"])
        return web.Response(status=status, headers={"x-ms-error-code": _CODES[status]})

    app = web.Application()
    app.router.add_route("*", "/{status}", refuse)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
