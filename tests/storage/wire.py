"""The wire between the app and Azurite: counts requests, breaks them, keeps queues on test time.

The emulator hides messages by the machine's clock, so a message that the app hides is really hidden
for days; its simulated instant is noted here, and `tests.storage.simulation` shows it when that
instant has come.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.queue import ResourceTypes, generate_account_sas

HIDDEN_SECONDS = 600_000
_HIDING = re.compile(r"visibilitytimeout=(\d+)")
_MESSAGE = re.compile(r"<MessageId>(.+?)</MessageId>.*?<PopReceipt>(.+?)</PopReceipt>", re.DOTALL)
_TABLE = re.compile(r"[a-z][a-z0-9]+([A-Z][a-z]+)")
_BATCHED = re.compile(r"^(?:POST|PUT|PATCH|DELETE) http://[^/]+/[^/]+/(\w+)", re.MULTILINE)


class ManualClock:
    """A clock that moves when it is told to."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        """The simulated instant, aware, in UTC."""
        return self._now

    def advance(self, seconds: float) -> None:
        """Moves the clock on."""
        self._now += timedelta(seconds=seconds)

    def move_to(self, instant: datetime) -> None:
        """Moves the clock to an instant, never back."""
        self._now = max(self._now, instant)


class Mode(StrEnum):
    """How a request fails."""

    REFUSED = "refused"
    """It is never sent."""
    DROPPED = "dropped"
    """It is done, and then the connection is lost; the SDK repeats such a request."""
    LOST = "lost"
    """It is done, and no reply comes in time; the SDK does not repeat a POST then."""
    BUSY = "busy"
    """It is answered with 503, and not done."""


def any_kind(kind: str) -> bool:
    """Matches every request."""
    return True


@dataclass
class Place:
    """The `at`-th (from 1) of the requests to come whose kind `matches`."""

    at: int
    matches: Callable[[str], bool]
    seen: int = 0
    hit: str | None = None
    """The kind of the request there, once it has come."""

    def strikes(self, kind: str) -> bool:
        """Counts a request; whether it is the one."""
        if self.hit is not None or not self.matches(kind):
            return False
        self.seen += 1
        if self.seen == self.at:
            self.hit = kind
        return self.hit is not None


@dataclass
class Fault(Place):
    """A request that fails."""

    mode: Mode = Mode.REFUSED


@dataclass
class Flying:
    """A message in a queue: its receipt, and the simulated instant from which it is visible."""

    queue: str
    receipt: str
    at: datetime
    hidden: bool
    """Whether the emulator hides it."""

    @property
    def poison(self) -> bool:
        """Whether it has been put aside."""
        return self.queue.endswith("-poison")


class Wire:
    """What all transports of one simulated scheduler share."""

    def __init__(self, clock: ManualClock, busy_url: str) -> None:
        self.clock = clock
        self.busy_url = busy_url
        self.counts: Counter[str] = Counter()
        self.log: list[str] = []
        self.flying: dict[str, Flying] = {}
        self.fault: Fault | None = None
        self._between: tuple[Place, Callable[[], Awaitable[object]]] | None = None

    def arm(self, at: int, mode: Mode, matches: Callable[[str], bool] = any_kind) -> Fault:
        """Breaks one of the app's coming requests."""
        self.fault = Fault(at, matches, mode=mode)
        return self.fault

    def between(
        self, at: int, matches: Callable[[str], bool], action: Callable[[], Awaitable[object]]
    ) -> Place:
        """Does something right before the `at`-th of the app's coming requests that match."""
        place = Place(at, matches)
        self._between = (place, action)
        return place

    def before(self, kind: str, action: Callable[[], Awaitable[object]]) -> None:
        """Does something right before the app's next request of this kind."""
        self.between(1, lambda one: one == kind, action)

    async def requested(self, kind: str) -> Mode | None:
        """Takes note of a request of the app; how it is to fail, or None."""
        if self._between is not None and self._between[0].strikes(kind):
            action, self._between = self._between[1], None
            await action()
        self.counts[kind] += 1
        self.log.append(kind)
        if self.fault is not None and self.fault.strikes(kind):
            return self.fault.mode
        return None

    def noted(self, kind: str, path: str, hidden: int, response: Any) -> None:  # noqa: ANN401
        """Follows the messages of a queue by what the service answered."""
        if response.status_code >= 300:
            return
        verb, parts = kind.split()[1], path.split("/")
        at = self.clock.now() + timedelta(seconds=hidden)
        if verb in ("send", "receive"):
            for message_id, receipt in _MESSAGE.findall(response.text()):
                self.flying[message_id] = Flying(parts[2], receipt, at, hidden > 0)
        elif verb == "update":
            receipt = response.headers["x-ms-popreceipt"]
            self.flying[parts[4]] = Flying(parts[2], receipt, at, hidden > 0)
        elif verb == "delete":
            self.flying.pop(parts[4], None)


class SimulatedTransport(AioHttpTransport):  # type: ignore[misc]
    """The SDK's transport; the host's own requests are neither counted nor broken."""

    def __init__(self, wire: Wire, *, of_app: bool) -> None:
        super().__init__()
        self._wire = wire
        self._of_app = of_app

    async def sleep(self, duration: float) -> None:
        """Lets the simulated clock do the waiting between the SDK's retries."""
        self._wire.clock.advance(duration)

    async def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401
        """Sends one request, or fails as the wire has it."""
        kind, url = kind_of(request), request.url
        mode = await self._wire.requested(kind) if self._of_app else None
        if mode is Mode.REFUSED:
            raise ServiceRequestError(f"refused by the test: {kind}")
        hiding = _HIDING.search(url)
        hidden = int(hiding[1]) if hiding else 0
        if mode is Mode.BUSY:
            request.url = self._wire.busy_url
        elif hidden:
            request.url = _HIDING.sub(f"visibilitytimeout={HIDDEN_SECONDS}", url)
        try:
            response = await super().send(request, **options)
        finally:
            request.url = url
        if "/messages" in url and " peek" not in kind:
            self._wire.noted(kind, urlsplit(url).path, hidden, response)
        if mode is Mode.DROPPED:
            raise ServiceRequestError(f"the connection was dropped by the test: {kind}")
        if mode is Mode.LOST:
            raise ServiceResponseError(f"its reply was lost by the test: {kind}")
        return response


def kind_of(request: Any) -> str:  # noqa: ANN401
    """What a request does to what: `Zones batch`, `Jobs query`, `tz send`, `outputs put`, …"""
    parts = urlsplit(request.url)
    path, method = parts.path, request.method
    if path.endswith("$batch"):
        first = _BATCHED.search(bytes(request.content).decode("utf-8", "replace"))
        return f"{_table(first[1]) if first else '?'} batch"
    _, _, name, *rest = path.split("/")
    if name == "Tables":
        return "tables create"
    if "(" in name:
        return f"{_table(name)} {'query' if '()' in name else 'get'}"
    resource = re.sub(r"^[a-z0-9]+-(tz|relay|definitions|outputs).*?(-poison)?$", r"\1\2", name)
    if rest[:1] == ["messages"]:
        peek = "peekonly" in parts.query
        verbs = {"POST": "send", "GET": "peek" if peek else "receive", "PUT": "update"}
        return f"{resource} {verbs.get(method, 'delete')}"
    verbs = {"PUT": "put" if rest else "create", "DELETE": "delete"}
    return f"{resource} {verbs.get(method, 'get')}"


def _table(text: str) -> str:
    found = _TABLE.match(text)
    return found[1] if found else text


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
async def busy_server() -> Any:  # noqa: ANN401
    """A server on loopback that answers everything with 503; gives its address."""

    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=503, headers={"x-ms-error-code": "ServerBusy"})

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", refuse)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()
