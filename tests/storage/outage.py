"""Storage that is out of reach for several requests in a row, and not only for one."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random

from tests.storage.wire import Fault, Mode, Wire, any_kind

TABLES = ("Executions ", "Zones ", "Jobs ", "Days ", "Control ", "Audit ", "Keys ")


@dataclass
class Outage(Fault):
    """Breaks `lasts` requests in a row: the first as `mode` has it, the others are refused."""

    lasts: int = 1
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def strikes(self, kind: str) -> bool:
        """Counts a request; whether it is one of those to break."""
        if self.lasts == 0:
            self.over.set()
            return False
        if self.hit is None and not super().strikes(kind):
            return False
        if not self.matches(kind):
            return False
        if self.hit is not None and self.seen > self.at:
            self.mode = Mode.REFUSED
        self.seen += 1
        self.lasts -= 1
        return True


def black_out(wire: Wire, mode: Mode, lasts: int, matches: Callable[[str], bool]) -> Outage:
    """Breaks the next `lasts` of the app's requests whose kind `matches`."""
    outage = Outage(at=1, mode=mode, matches=matches, lasts=lasts)
    wire.fault = outage
    return outage


@dataclass
class Spell(Fault):
    """Breaks a share of the requests, until an instant."""

    wire: Wire | None = None
    until: datetime | None = None
    share: float = 1.0
    chance: Random = field(default_factory=Random)

    def strikes(self, kind: str) -> bool:
        """Counts a request; whether it is one of those to break."""
        assert self.wire is not None
        assert self.until is not None
        if self.wire.clock.now() >= self.until or not self.matches(kind):
            return False
        if self.chance.random() >= self.share:
            return False
        self.seen += 1
        self.hit = kind
        return True


def bad_spell(
    wire: Wire,
    mode: Mode,
    *,
    seconds: float,
    share: float = 1.0,
    seed: int = 0,
    matches: Callable[[str], bool] = any_kind,
) -> Spell:
    """Breaks a share of the app's requests whose kind `matches`, for so many seconds from now."""
    until = wire.clock.now() + timedelta(seconds=seconds)
    spell = Spell(
        at=0,
        mode=mode,
        matches=matches,
        wire=wire,
        until=until,
        share=share,
        chance=Random(seed),
    )
    wire.fault = spell
    return spell


def of_a_table(kind: str) -> bool:
    """Whether a request is one to a table."""
    return kind.startswith(TABLES)
