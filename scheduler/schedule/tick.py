"""The tick: announces the runs that fall due within the horizon, sends their starts, moves on.

In that order, and each of it repeatable: a tick that dies anywhere is done again by the next one,
and the same run collides with itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched

from scheduler.clock import Clock
from scheduler.dispatch.control import Control
from scheduler.dispatch.dispatcher import MAX_HIDDEN_SECONDS, Dispatcher, Outgoing
from scheduler.dispatch.ids import SHARDS, Trigger, shard_of
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.run_index import Announcement, RunIndex
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.jobs.due import DUE_PREFIX, Due, due_of, next_key
from scheduler.schedule.plan import ERROR_DELAY, Plan, plan_error, plan_runs
from scheduler.settings import Settings
from scheduler.storage.keys import sortable
from scheduler.storage.tables import MAX_CHANGES, Change, Delete, Replace, Row, Table, Upsert, Value
from scheduler.telemetry import get_logger

log = get_logger(__name__)
ROWS_A_ROUND = 125
"""How many due rows of one shard are read, announced and moved on at a time."""
ROUNDS_HANDED_ON = 8
_ERROR_CHARACTERS = 500
ROWS_A_MOVE = MAX_CHANGES // 3


@dataclass(frozen=True, slots=True)
class DueRow:
    """A due row as read, and its version; None where it is not known."""

    due: Due
    etag: str | None


@dataclass(frozen=True, slots=True)
class _Found:
    """The due rows of a shard that can be read, and whether there may be more."""

    readable: Sequence[DueRow]
    more: bool


@dataclass(frozen=True, slots=True)
class _Round:
    """How many runs a round announced, the shards that may have more, and what failed for some."""

    count: int
    full: Sequence[str]
    error: StorageUnavailable | None = None

    def count_or_raise(self) -> int:
        if self.error is not None:
            raise self.error
        return self.count


class Tick:
    """Reads what is due, and nothing else: its cost follows the runs, not the jobs."""

    def __init__(
        self,
        jobs: Table,
        runs: RunIndex,
        dispatcher: Dispatcher,
        control: Control,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._control = control
        self._jobs = jobs
        self._runs = runs
        self._dispatcher = dispatcher
        self._horizon = timedelta(seconds=settings.tick_horizon_seconds)
        self._clock = clock

    async def run(self) -> int:
        """Announces what is due; returns how many runs that were.

        Of a very full minute it takes the first 125 rows of each shard, and hands the rest on to
        whoever is free, by a message for each shard. What fails for one zone or one row does not
        hold up the others. Unless the control word is running, nothing is announced.

        Raises:
            StorageUnavailable: storage could not be reached for some; the next tick goes on.
        """
        if not await self._may_run():
            return 0
        done = await self._round(SHARDS)
        await asyncio.gather(*map(self._dispatcher.hand_on, done.full))
        return done.count_or_raise()

    async def go_on(self, shard: str) -> int:
        """Announces what is due in a shard that a tick handed on; hands on what is still left.

        Raises:
            StorageUnavailable: storage could not be reached for some; the next tick goes on.
        """
        if not await self._may_run():
            return 0
        total = 0
        for _ in range(ROUNDS_HANDED_ON):
            done = await self._round([shard])
            total += done.count_or_raise()
            if not done.full:
                return total
        await self._dispatcher.hand_on(shard)
        return total

    async def _may_run(self) -> bool:
        word = await self._control.read()
        return word.state.admits(Trigger.SCHEDULE)

    async def _round(self, shards: Sequence[str]) -> _Round:
        until = self._clock.now() + self._horizon
        found = await asyncio.gather(*(self._due_rows(shard, until) for shard in shards))
        full = [shard for shard, rows in zip(shards, found, strict=True) if rows.more]
        try:
            count = await self.announce([row for rows in found for row in rows.readable])
        except StorageUnavailable as error:
            return _Round(0, full, error)
        return _Round(count, full)

    async def announce(self, rows: Sequence[DueRow]) -> int:
        """Announces and sends the runs of these due rows, then moves the rows on.

        Raises:
            StorageUnavailable: for some storage could not be reached; their rows are as they were.
        """
        now = self._clock.now()
        by_zone: dict[str, list[Announcement]] = defaultdict(list)
        plans: list[tuple[DueRow, Plan]] = []
        # One row of a job at a time: rows of two would meet in a transaction, and break it.
        for row in {row.due.job_id: row for row in reversed(rows)}.values():
            plan = self._plan(row.due, now)
            plans.append((row, plan))
            by_zone[row.due.timezone].extend(plan.announcements)
            await asyncio.sleep(0)
        failed = await _each(by_zone, lambda zone: self._send(zone, by_zone[zone], now))
        by_shard: dict[str, list[tuple[DueRow, Plan]]] = defaultdict(list)
        for row, plan in plans:
            if row.due.timezone not in failed:
                by_shard[shard_of(row.due.job_id)].append((row, plan))
        failed |= await _each(by_shard, lambda shard: self._move_all(shard, by_shard[shard]))
        for error in failed.values():
            raise error
        return sum(len(runs) for runs in by_zone.values())

    def _plan(self, due: Due, now: datetime) -> Plan:
        try:
            return plan_runs(due, now, now + self._horizon)
        except Exception as error:
            log.exception(
                "a schedule cannot be computed",
                extra={"action": "schedule_failed", "job_id": due.job_id},
            )
            reason = f"{type(error).__name__}: {error}"
            return Plan((), plan_error(due, reason[:_ERROR_CHARACTERS], now))

    async def _due_rows(self, shard: str, until: datetime) -> _Found:
        end = f"{DUE_PREFIX}{sortable(until)}"
        found: list[DueRow] = []
        count = 0
        async for row in self._jobs.query(shard, DUE_PREFIX, end, limit=ROWS_A_ROUND):
            count += 1
            try:
                found.append(DueRow(due_of(row), row.etag))
            except (KeyError, TypeError, ValueError):
                log.exception("a due row cannot be read", extra={"action": "due_row_unreadable"})
                await self._postpone(shard, row)
        return _Found(found, more=count == ROWS_A_ROUND)

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

    async def _send(self, timezone: str, runs: Sequence[Announcement], now: datetime) -> None:
        queue = self._dispatcher.queue_of(timezone)
        for batch in batched(runs, MAX_CHANGES, strict=False):
            etags = await self._runs.announce(queue, batch, now)
            starts = [
                Outgoing(_start(run, etag), run.due) for run, etag in zip(batch, etags, strict=True)
            ]
            far = now + timedelta(seconds=MAX_HIDDEN_SECONDS)
            await self._dispatcher.send_all(timezone, [s for s in starts if _at(s) <= far])
            for start in starts:
                if _at(start) > far:
                    await self._dispatcher.send_later(timezone, start.message, _at(start))

    async def _move_all(self, shard: str, moves: Sequence[tuple[DueRow, Plan]]) -> None:
        for batch in batched(moves, ROWS_A_MOVE, strict=False):
            try:
                await self._jobs.commit(
                    shard, [c for row, plan in batch for c in move_changes(row, plan.following)]
                )
            except ConflictingWrite:
                for row, plan in batch:
                    await self._commit(shard, move_changes(row, plan.following), row.due.job_id)

    async def _commit(self, shard: str, changes: Sequence[Change], job_id: str) -> None:
        try:
            await self._jobs.commit(shard, changes)
        except ConflictingWrite:
            log.info(
                "a due row was moved by another, or its job has changed",
                extra={"action": "due_row_skipped", "job_id": job_id},
            )


async def _each(
    names: Iterable[str], call: Callable[[str], Awaitable[None]]
) -> dict[str, BaseException]:
    """Calls for each name at once; returns the errors of those that failed."""
    order = list(names)
    results = await asyncio.gather(*map(call, order), return_exceptions=True)
    return {
        name: result
        for name, result in zip(order, results, strict=True)
        if isinstance(result, BaseException)
    }


def _at(start: Outgoing) -> datetime:
    if start.at is None:
        raise ValueError("a start has its instant")
    return start.at


def _start(run: Announcement, etag: str) -> Message:
    fresh = run.skip_reason is None and etag != ""
    return Message(
        kind=MessageKind.START,
        execution_id=run.execution_id,
        due=run.due,
        etag=etag if fresh else None,
        revision=run.revision if fresh else None,
    )


def move_changes(row: DueRow, new: Due | None) -> list[Change]:
    """The changes that put a due row in the place of another, or take it away."""
    old = row.due
    if new is None:
        return [Delete(old.key, row.etag), Delete(old.next_key, None)]
    pointer = Upsert(new.next_key, new.pointer())
    if new.key == old.key:
        return [Replace(new.key, new.columns(), row.etag), pointer]
    return [Upsert(new.key, new.columns()), Delete(old.key, row.etag), pointer]
