"""How often in a row our own code failed at a run: counted on its `run:` row.

Nothing is read or written while nothing fails. The row itself, and the run row it names, need not
be readable: both are taken as they are. A count ends where the run has moved on since.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime

from scheduler.clock import Clock
from scheduler.dispatch.ids import ExecutionId, parse_execution_id
from scheduler.dispatch.run_index import run_key
from scheduler.errors import ConflictingWrite, Misconfigured, SchedulerError, StorageUnavailable
from scheduler.security.redaction import Redactor
from scheduler.storage.contention import pauses
from scheduler.storage.tables import Merge, Row, Table, Value
from scheduler.telemetry import get_logger

log = get_logger(__name__)
MAX_FAILURES = 10
"""After so many in a row, upkeep gives the run up."""
PASSING = (StorageUnavailable, ConflictingWrite, Misconfigured)
"""What is no failure of our own code: storage, lost races, and settings that wait to be mended."""
_MESSAGE_CHARACTERS = 1000


@dataclass(frozen=True, slots=True)
class FailureCount:
    """How many failures in a row, the last one's text (redacted), and when it was."""

    count: int = 0
    text: str = ""
    at: datetime | None = None

    @property
    def is_final(self) -> bool:
        """Whether the run is to be given up."""
        return self.count >= MAX_FAILURES

    def is_before(self, moved: object) -> bool:
        """Whether the run has moved on since, `moved` being when it last did."""
        return isinstance(moved, datetime) and self.at is not None and moved > self.at


def failures_of(row: Row) -> FailureCount:
    """What a `run:` row has counted, whatever else is in it."""
    count, at = row.values.get("failures"), row.values.get("failed_at")
    return FailureCount(
        count=count if isinstance(count, int) else 0,
        text=str(row.values.get("failure") or ""),
        at=at if isinstance(at, datetime) else None,
    )


class Failures:
    """Counts failures of our own code."""

    def __init__(self, zones: Table, executions: Table, redactor: Redactor, clock: Clock) -> None:
        self._zones = zones
        self._executions = executions
        self._redactor = redactor
        self._clock = clock

    async def note(self, queue: str, execution_id: ExecutionId, error: Exception) -> None:
        """Counts one, unless it is a passing one or the run has no `run:` row.

        It raises nothing: what cannot be counted now is met again.
        """
        if isinstance(error, PASSING):
            return
        try:
            count = await self._count(queue, execution_id, self._told(error))
        except (StorageUnavailable, ConflictingWrite):
            log.warning("a failure was not counted", extra={"action": "failure_uncounted"})
            return
        log.warning(
            "a failure of the scheduler's own code was counted",
            extra={"action": "failure_counted", "execution_id": execution_id, "count": count},
        )

    async def forget(self, queue: str, row: Row) -> None:
        """Counts from none again: the run has moved on.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        try:
            await self._zones.commit(queue, [Merge(row.key, {"failures": 0}, row.etag)])
        except ConflictingWrite:
            return

    async def _count(self, queue: str, execution_id: ExecutionId, text: str) -> int:
        moved = await self._moved_at(execution_id)
        for pause in pauses():
            row = await self._zones.get(queue, run_key(execution_id))
            if row is None:
                return 0
            before = failures_of(row)
            count = 1 if before.is_before(moved) else before.count + 1
            values: dict[str, Value] = {
                "failures": count,
                "failure": text,
                "failed_at": self._clock.now(),
            }
            try:
                await self._zones.commit(queue, [Merge(row.key, values, row.etag)])
            except ConflictingWrite:
                await asyncio.sleep(pause)
                continue
            return count
        raise StorageUnavailable(f"the row of {execution_id} changes all the time")

    async def _moved_at(self, execution_id: ExecutionId) -> object:
        """When the run last moved on, of a run row that need not be readable."""
        key = parse_execution_id(execution_id)
        row = await self._executions.get(key.job_id, key.run_row) if key is not None else None
        return row.values.get("progress_at") if row is not None else None

    def _told(self, error: Exception) -> str:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, SchedulerError):
            text = f"{error.code}: {error.message}"
        return self._redactor.text(text)[:_MESSAGE_CHARACTERS]
