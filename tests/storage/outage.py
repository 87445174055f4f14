"""Storage that is out of reach for several requests in a row, and not only for one."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.storage.wire import Fault, Mode, Wire


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
