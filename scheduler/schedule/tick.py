"""The tick: announces the runs that fall due within the horizon, sends their starts, moves on.

In that order, and each of it repeatable: a tick that dies anywhere is done again by the next one,
and the same run collides with itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher, Outgoing
from scheduler.dispatch.ids import SHARDS, shard_of
from scheduler.dispatch.messages import Message, MessageKind, decode
from scheduler.dispatch.run_index import Announcement, RunIndex
from scheduler.errors import ConflictingWrite, SchedulerError
from scheduler.jobs.due import DUE_PREFIX, Due, due_of
from scheduler.schedule.plan import Plan, plan_error, plan_runs
from scheduler.settings import Settings
from scheduler.storage.keys import from_sortable, sortable
from scheduler.storage.tables import MAX_CHANGES, Change, Delete, Row, Table, Upsert
from scheduler.telemetry import get_logger

log = get_logger(__name__)
WAKE_PREFIX = "wake:"
MAX_ROWS_A_PASS = 2_000
MAX_PASSES = 10
_ROWS_A_MOVE = MAX_CHANGES // 3


@dataclass(frozen=True, slots=True)
class DueRow:
    """A due row as read, and its version."""

    due: Due
    etag: str


class Tick:
    """Reads what is due, and nothing else: its cost follows the runs, not the jobs."""

    def __init__(
        self,
        jobs: Table,
        runs: RunIndex,
        dispatcher: Dispatcher,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._jobs = jobs
        self._runs = runs
        self._dispatcher = dispatcher
        self._horizon = timedelta(seconds=settings.tick_horizon_seconds)
        self._clock = clock

    async def run(self) -> int:
        """Announces all that is due; returns how many runs that were.

        Raises:
            StorageUnavailable: storage cannot be reached; the next tick goes on.
        """
        until = self._clock.now() + self._horizon
        count = 0
        for _ in range(MAX_PASSES):
            found = await asyncio.gather(*(self._due_rows(shard, until) for shard in SHARDS))
            rows = [row for shard in found for row in shard]
            count += await self.announce(rows)
            if all(len(shard) < MAX_ROWS_A_PASS // len(SHARDS) for shard in found):
                break
        await asyncio.gather(*(self._wake(shard, until) for shard in SHARDS))
        return count

    async def announce(self, rows: Sequence[DueRow]) -> int:
        """Announces and sends the runs of these due rows, then moves the rows on.

        Raises:
            StorageUnavailable: storage cannot be reached; the rows are as they were, or moved.
        """
        now = self._clock.now()
        plans = [(row, self._plan(row.due, now)) for row in rows]
        by_zone: dict[str, list[Announcement]] = defaultdict(list)
        for row, plan in plans:
            by_zone[row.due.timezone].extend(plan.announcements)
        await asyncio.gather(*(self._send(zone, runs, now) for zone, runs in by_zone.items()))
        by_shard: dict[str, list[tuple[DueRow, Plan]]] = defaultdict(list)
        for row, plan in plans:
            by_shard[shard_of(row.due.job_id)].append((row, plan))
        await asyncio.gather(*(self._move_all(shard, moves) for shard, moves in by_shard.items()))
        return sum(len(runs) for runs in by_zone.values())

    def _plan(self, due: Due, now: datetime) -> Plan:
        try:
            return plan_runs(due, now, now + self._horizon)
        except (SchedulerError, ValueError, ArithmeticError) as error:
            log.exception(
                "a schedule cannot be computed",
                extra={"action": "schedule_failed", "job_id": due.job_id},
            )
            return Plan((), plan_error(due, str(error), now))

    async def _due_rows(self, shard: str, until: datetime) -> list[DueRow]:
        end = f"{DUE_PREFIX}{sortable(until)}"
        limit = MAX_ROWS_A_PASS // len(SHARDS)
        rows: AsyncIterator[Row] = self._jobs.query(shard, DUE_PREFIX, end, limit=limit)
        return [DueRow(due_of(row), row.etag) async for row in rows]

    async def _send(self, timezone: str, runs: Sequence[Announcement], now: datetime) -> None:
        queue = self._dispatcher.queue_of(timezone)
        for batch in batched(runs, MAX_CHANGES, strict=False):
            etags = await self._runs.announce(queue, batch, now)
            starts = [
                Outgoing(_start(run, etag), run.due) for run, etag in zip(batch, etags, strict=True)
            ]
            await self._dispatcher.send_all(timezone, starts)

    async def _move_all(self, shard: str, moves: Sequence[tuple[DueRow, Plan]]) -> None:
        for batch in batched(moves, _ROWS_A_MOVE, strict=False):
            try:
                await self._jobs.commit(shard, [c for move in batch for c in _move(*move)])
            except ConflictingWrite:
                for move in batch:
                    await self._move_one(shard, move)

    async def _move_one(self, shard: str, move: tuple[DueRow, Plan]) -> None:
        try:
            await self._jobs.commit(shard, _move(*move))
        except ConflictingWrite:
            log.info(
                "a due row was moved by another, or its job has changed",
                extra={"action": "due_row_skipped", "job_id": move[0].due.job_id},
            )

    async def _wake(self, shard: str, until: datetime) -> None:
        end = f"{WAKE_PREFIX}{sortable(until)}"
        async for row in self._jobs.query(shard, WAKE_PREFIX, end, limit=1000):
            at = from_sortable(row.key.removeprefix(WAKE_PREFIX).partition("Z:")[0] + "Z")
            message = decode(str(row.values["message"]))
            await self._dispatcher.send(str(row.values["timezone"]), message, at)
            try:
                await self._jobs.commit(shard, [Delete(row.key, row.etag)])
            except ConflictingWrite:
                continue


def _start(run: Announcement, etag: str) -> Message:
    fresh = run.skip_reason is None and etag != ""
    return Message(
        kind=MessageKind.START,
        execution_id=run.execution_id,
        due=run.due,
        etag=etag if fresh else None,
        revision=run.revision if fresh else None,
    )


def _move(row: DueRow, plan: Plan) -> list[Change]:
    old, new = row.due, plan.following
    if new is None:
        return [Delete(old.key, row.etag), Delete(old.next_key, None)]
    pointer = Upsert(new.next_key, new.pointer())
    if new.key == old.key:
        return [pointer]
    return [Upsert(new.key, new.columns()), Delete(old.key, row.etag), pointer]
