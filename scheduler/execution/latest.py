"""What one process knows of the executions that it works on: it saves reads, and lost races.

Steps that run side by side all change their execution's run row. Those of one process take turns,
and each begins with the row as the one before left it, so that they need not meet at storage. Other
processes are not asked: every write names the version that it goes by, and storage has the last
word.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from scheduler.dispatch.ids import ExecutionId

_KEPT = 500
_LONGEST_TURN_SECONDS = 2
"""Who is not through by then is stuck at storage: the others go on, and may lose a race."""


@dataclass(slots=True)
class _Known[T]:
    row: T | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Latest[T]:
    """The last versions of rows, by execution; and turns among those who change them."""

    def __init__(self) -> None:
        self._known: OrderedDict[ExecutionId, _Known[T]] = OrderedDict()

    def get(self, execution_id: ExecutionId) -> T | None:
        """The row as this process last read or wrote it; it may have changed since."""
        known = self._known.get(execution_id)
        return known.row if known is not None else None

    def wrote(self, execution_id: ExecutionId, row: T) -> None:
        """Notes a row that this process has just written."""
        self._entry(execution_id).row = row

    def read(self, execution_id: ExecutionId, row: T) -> None:
        """Notes a row that was read; what is known already may be newer than a reply that was on
        its way."""
        entry = self._entry(execution_id)
        if entry.row is None:
            entry.row = row

    def is_old(self, execution_id: ExecutionId) -> None:
        """Notes that the row has changed, or may have."""
        self._entry(execution_id).row = None

    def forget(self, execution_id: ExecutionId) -> None:
        """Drops what is known of an execution that has ended, unless somebody has a turn."""
        known = self._known.get(execution_id)
        if known is not None and not known.lock.locked():
            del self._known[execution_id]

    @asynccontextmanager
    async def turn(self, execution_id: ExecutionId) -> AsyncIterator[None]:
        """Waits for those of this process who change the same execution, but not for long."""
        lock = self._entry(execution_id).lock
        try:
            async with asyncio.timeout(_LONGEST_TURN_SECONDS):
                await lock.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _entry(self, execution_id: ExecutionId) -> _Known[T]:
        known = self._known.setdefault(execution_id, _Known())
        self._known.move_to_end(execution_id)
        if len(self._known) > _KEPT:
            oldest = next(iter(self._known))
            self.forget(oldest)
        return known
