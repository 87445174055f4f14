"""The tick: announces the runs that fall due within the horizon, sends their starts, moves on.

In that order, and each of it repeatable: a tick that dies anywhere is done again by the next one,
and the same run collides with itself.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched

from scheduler.clock import Clock
from scheduler.dispatch.control import Control
from scheduler.dispatch.dispatcher import MAX_HIDDEN_SECONDS, Dispatcher, Outgoing
from scheduler.dispatch.ids import SHARDS, Trigger, shard_of
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.run_index import Announcement, RunIndex
from scheduler.errors import StorageUnavailable
from scheduler.jobs.due import Due
from scheduler.schedule.due_rows import DueRow, DueRows, Found, for_each
from scheduler.schedule.plan import Plan, plan_error, plan_runs
from scheduler.settings import Settings
from scheduler.storage.tables import MAX_CHANGES
from scheduler.telemetry import get_logger

log = get_logger(__name__)
ROWS_A_ROUND = 125
"""How many due rows of one shard are read, announced and moved on at a time."""
ROUNDS_HANDED_ON = 8
_ERROR_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class _Round:
    """How many runs a round announced, the shards that may have more, and what failed for some."""

    count: int
    full: Sequence[str]
    error: BaseException | None = None

    def count_or_raise(self) -> int:
        if self.error is not None:
            raise self.error
        return self.count


class Tick:
    """Reads what is due, and nothing else: its cost follows the runs, not the jobs."""

    def __init__(
        self,
        rows: DueRows,
        runs: RunIndex,
        dispatcher: Dispatcher,
        control: Control,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._control = control
        self._rows = rows
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
        found: dict[str, Found] = {}

        async def read(shard: str) -> None:
            found[shard] = await self._rows.read(shard, until, ROWS_A_ROUND)

        errors = list((await for_each(shards, read)).values())
        rows = [row for shard in shards if shard in found for row in found[shard].readable]
        count = 0
        try:
            count = await self.announce(rows)
        except StorageUnavailable as error:
            errors.append(error)
        full = [shard for shard in shards if shard in found and found[shard].more]
        return _Round(count, full, errors[0] if errors else None)

    async def announce(self, rows: Sequence[DueRow]) -> int:
        """Announces and sends the runs of these due rows, then moves the rows on.

        Raises:
            StorageUnavailable: for some storage could not be reached; their rows are as they were.
        """
        now = self._clock.now()
        by_zone: dict[str, list[Announcement]] = defaultdict(list)
        plans: list[tuple[DueRow, Plan]] = []
        # One row of a job at a time: rows of two would meet in a transaction, and break it.
        of_jobs = {row.due.job_id: row for row in reversed(rows)}
        decided, undecided = await self._rows.decide(list(of_jobs.values()), now)
        for row in decided:
            plan = self._plan(row.due, now)
            plans.append((row, plan))
            by_zone[row.due.timezone].extend(plan.announcements)
            await asyncio.sleep(0)
        failed = await for_each(by_zone, lambda zone: self._send(zone, by_zone[zone], now))
        by_shard: dict[str, list[tuple[DueRow, Due | None]]] = defaultdict(list)
        for row, plan in plans:
            if row.due.timezone not in failed:
                by_shard[shard_of(row.due.job_id)].append((row, plan.following))
        failed |= await for_each(by_shard, lambda shard: self._rows.move(shard, by_shard[shard]))
        for error in (*undecided, *failed.values()):
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
