"""The due rows in the Jobs table: read, decided about, moved on; one bad row holds up no other."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import batched

from scheduler.clock import Clock
from scheduler.dispatch.ids import shard_of
from scheduler.errors import ConflictingWrite
from scheduler.jobs.due import DUE_PREFIX, Due, due_of, next_key
from scheduler.schedule.plan import ERROR_DELAY, to_decide
from scheduler.storage.keys import sortable
from scheduler.storage.tables import MAX_CHANGES, Change, Delete, Replace, Row, Table, Upsert, Value
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_ROWS_A_MOVE = MAX_CHANGES // 3


@dataclass(frozen=True, slots=True)
class DueRow:
    """A due row as read, and its version; None where it is not known."""

    due: Due
    etag: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """The due rows of a shard that can be read, and whether there may be more."""

    readable: Sequence[DueRow]
    more: bool


class DueRows:
    """Reads and changes due rows, a shard of the Jobs table at a time.

    Every call raises StorageUnavailable when storage cannot be reached, unless it says otherwise.
    """

    def __init__(self, jobs: Table, clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock

    async def read(self, shard: str, until: datetime, limit: int) -> Found:
        """The first due rows of a shard before an instant, at most `limit`."""
        end = f"{DUE_PREFIX}{sortable(until)}"
        found: list[DueRow] = []
        count = 0
        async for row in self._jobs.query(shard, DUE_PREFIX, end, limit=limit):
            count += 1
            try:
                found.append(DueRow(due_of(row), row.etag))
            except (KeyError, TypeError, ValueError):
                log.exception("a due row cannot be read", extra={"action": "due_row_unreadable"})
                await self._postpone(shard, row)
        return Found(found, more=count == limit)

    async def _postpone(self, shard: str, row: Row) -> None:
        """Moves a row that cannot be read out of the way, for an hour."""
        at = self._clock.now() + ERROR_DELAY
        job_id = row.key.rpartition(":")[2]
        later = f"{DUE_PREFIX}{sortable(at)}:{job_id}"
        error = "the due row cannot be read: change the job's schedule to make it anew"
        pointer: dict[str, Value] = {"due_key": later, "nominal": at, "error": error}
        changes: list[Change] = [
            Upsert(later, row.values),
            Delete(row.key, row.etag),
            Upsert(next_key(job_id), pointer),
        ]
        await self._commit(shard, changes, job_id)

    async def decide(
        self, rows: Sequence[DueRow], now: datetime
    ) -> tuple[list[DueRow], list[BaseException]]:
        """The rows, those overdue with what is missed decided and stored; and what failed.

        Without those that failed, and those that another has decided or moved meanwhile. It raises
        nothing.
        """
        result: list[DueRow] = []
        overdue: dict[str, list[DueRow]] = defaultdict(list)
        for row in rows:
            due = to_decide(row.due, now) if row.etag is not None else None
            if due is None:
                result.append(row)
            else:
                overdue[shard_of(due.job_id)].append(DueRow(due, row.etag))

        async def decide(shard: str) -> None:
            for batch in batched(overdue[shard], MAX_CHANGES, strict=False):
                result.extend(await self._decide(shard, batch))

        failed = await for_each(overdue, decide)
        return result, list(failed.values())

    async def _decide(self, shard: str, rows: Sequence[DueRow]) -> list[DueRow]:
        changes = [Replace(row.due.key, row.due.columns(), row.etag) for row in rows]
        try:
            etags = await self._jobs.commit(shard, changes)
        except ConflictingWrite:
            if len(rows) == 1:
                return []
            found = [await self._decide(shard, [row]) for row in rows]
            return [row for rows in found for row in rows]
        return [DueRow(row.due, etag) for row, etag in zip(rows, etags, strict=True) if etag]

    async def move(self, shard: str, moves: Sequence[tuple[DueRow, Due | None]]) -> None:
        """Puts the rows that follow in the place of some rows, but of those that have changed."""
        for batch in batched(moves, _ROWS_A_MOVE, strict=False):
            try:
                await self._jobs.commit(shard, [c for move in batch for c in move_changes(*move)])
            except ConflictingWrite:
                for row, following in batch:
                    await self._commit(shard, move_changes(row, following), row.due.job_id)

    async def _commit(self, shard: str, changes: Sequence[Change], job_id: str) -> None:
        try:
            await self._jobs.commit(shard, changes)
        except ConflictingWrite:
            log.info(
                "a due row was moved by another, or its job has changed",
                extra={"action": "due_row_skipped", "job_id": job_id},
            )


async def for_each(
    names: Iterable[str], call: Callable[[str], Awaitable[None]]
) -> dict[str, BaseException]:
    """Calls for each name at once; returns the errors of those that failed, and logs them."""
    order = list(names)
    results = await asyncio.gather(*map(call, order), return_exceptions=True)
    failed = {
        name: result
        for name, result in zip(order, results, strict=True)
        if isinstance(result, BaseException)
    }
    for name, error in failed.items():
        log.error("failed for %s", name, exc_info=error, extra={"action": "part_failed"})
    return failed


def move_changes(row: DueRow, new: Due | None) -> list[Change]:
    """The changes that put a due row in the place of another, or take it away."""
    old = row.due
    if new is None:
        return [Delete(old.key, row.etag), Delete(old.next_key, None)]
    pointer = Upsert(new.next_key, new.pointer())
    if new.key == old.key:
        return [Replace(new.key, new.columns(), row.etag), pointer]
    return [Upsert(new.key, new.columns()), Delete(old.key, row.etag), pointer]
