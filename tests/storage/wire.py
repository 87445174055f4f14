"""The wire between the app and Azurite: counts requests, says which fail, keeps messages' time.

`tests.storage.transport` does the failing. The emulator hides messages by the machine's clock, so a
message that the app hides is really hidden for days; its simulated instant is noted here, and
`tests.storage.simulation` shows it when that instant has come.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

_MESSAGE = re.compile(r"<MessageId>(.+?)</MessageId>.*?<PopReceipt>(.+?)</PopReceipt>", re.DOTALL)
_TURNS = 20
"""After so many turns of the event loop without a request, no other follows by itself."""


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

    async def sleep(self, seconds: float) -> None:
        """Moves the clock on, as if so much time had passed."""
        self.advance(seconds)

    def move_to(self, instant: datetime) -> None:
        """Moves the clock to an instant, never back."""
        self._now = max(self._now, instant)


class Mode(StrEnum):
    """How a request fails, or what happens to it."""

    REFUSED = "refused"
    """It is never sent."""
    DROPPED = "dropped"
    """It is done, and then the connection is lost; the SDK repeats such a request."""
    LOST = "lost"
    """It is done, and its reply is lost; the SDK does not repeat a POST then."""
    TIMEOUT_BEFORE = "timeout-before"
    """It is never sent, and time passes until the SDK gives up."""
    TIMEOUT_AFTER = "timeout-after"
    """It is done, but no reply comes, and time passes until the SDK gives up."""
    ERROR = "error"
    """It is answered with 500, and not done."""
    ERROR_AFTER = "error-after"
    """It is done, and answered with 500."""
    BUSY = "busy"
    """It is answered with 503, and not done."""
    LATE = "late"
    """It is sent when no other request is under way and none follows without it."""
    HELD = "held"
    """It is sent when the test lets it go."""
    KILLED_BEFORE = "killed-before"
    """The instance is dead before it is sent."""
    KILLED_AFTER = "killed-after"
    """It is done, and the instance is dead before it learns of it."""


KILLS = (Mode.KILLED_BEFORE, Mode.KILLED_AFTER)
DELAYS = (Mode.LATE, Mode.HELD)
FAILURES = tuple(mode for mode in Mode if mode not in (*KILLS, *DELAYS))
"""The modes in which the sender gets an error and lives on."""
DONE = frozenset({Mode.DROPPED, Mode.LOST, Mode.TIMEOUT_AFTER, Mode.ERROR_AFTER, Mode.KILLED_AFTER})
"""The modes in which the request does its work, and its sender does not learn of it."""


class Killed(BaseException):
    """The instance is dead, as after SIGKILL: none of its code reaches storage any more."""


class Instance:
    """One process of the app, from its start until it is killed."""

    def __init__(self) -> None:
        self.dead = False

    def kill(self) -> None:
        """Ends it where it stands."""
        self.dead = True

    def require_life(self) -> None:
        """Does nothing, in a living instance.

        Raises:
            Killed: it is dead.
        """
        if self.dead:
            raise Killed


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
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a request of mode HELD is there."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Lets it go."""


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

    def __init__(self, clock: ManualClock, failing_url: str) -> None:
        self.clock = clock
        self.failing_url = failing_url
        self.counts: Counter[str] = Counter()
        self.log: list[str] = []
        self.flying: dict[str, Flying] = {}
        self.fault: Fault | None = None
        self.watcher: Callable[[str, Any], Awaitable[object]] | None = None
        """Is told of each request of the app that was done: its kind, and the request."""
        self._between: tuple[Place, Callable[[], Awaitable[object]]] | None = None
        self._under_way = 0
        self._quiet = asyncio.Event()
        self._quiet.set()

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

    async def requested(self, kind: str) -> Fault | None:
        """Takes note of a request of the app; the fault that strikes it, or None."""
        if self._between is not None and self._between[0].strikes(kind):
            action, self._between = self._between[1], None
            await action()
        self.counts[kind] += 1
        self.log.append(kind)
        if self.fault is not None and self.fault.strikes(kind):
            return self.fault
        return None

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Counts a request of the app for as long as it is under way."""
        self._under_way += 1
        self._quiet.clear()
        try:
            yield
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._quiet.set()

    async def quiet(self) -> None:
        """Waits until no request of the app is under way, and none follows by itself."""
        turns = 0
        while turns < _TURNS:
            await self._quiet.wait()
            await asyncio.sleep(0)
            turns = turns + 1 if self._quiet.is_set() else 0

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
