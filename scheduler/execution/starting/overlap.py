"""What happens when a run arrives while another of its job is unfinished."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.dispatch.ids import Trigger
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.states import RunEvent, RunState, StepEvent
from scheduler.execution.store import (
    CURRENT,
    QUEUE_PREFIX,
    ExecutionStore,
    Stored,
    claim_current,
    current_columns,
)
from scheduler.jobs.model import CatchUp, Job, Overlap
from scheduler.schedule.plan import LATE_SECONDS, lateness_allowed
from scheduler.storage.contention import pauses
from scheduler.storage.keys import sortable
from scheduler.storage.tables import Change, Replace, Upsert

MAX_QUEUED = 20
MAX_MADE_UP = 200
"""Of the runs of a backfill, or of `catch_up: all`: there the number is bounded already."""


class OverlapRule:
    """Decides, and writes the decision with the run itself, in one transaction."""

    def __init__(self, store: ExecutionStore) -> None:
        self._store = store

    async def enter(self, run: Run, etag: str | None, now: datetime) -> Stored[Run]:
        """Stores a pending run as active, queued or skipped; without an ETag it is made.

        Raises:
            ConflictingWrite: index 0: it exists, or has changed.
            StorageUnavailable: storage cannot be reached.
        """
        if run.overlap is Overlap.ALLOW or run.holds_current:
            return await self._write(run, etag, [])
        way_in: Change | None = None if await self.is_behind(run) else claim_current(run)
        for pause in pauses():
            if way_in is None:
                return await self._stand_back(run, etag, now)
            try:
                return await self._write(run.now_current(), etag, [way_in])
            except ConflictingWrite as error:
                if error.index == 0:
                    raise
            await asyncio.sleep(pause)
            way_in = await self.way_in(run)
        raise ConflictingWrite(
            f"{CURRENT} of {run.job_id} changes all the time", index=1, exists=True
        )

    async def is_behind(self, run: Run) -> bool:
        """Whether other runs of its job stand in line already, which it must not pass.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if run.overlap is not Overlap.QUEUE:
            return False
        queued = await self._store.queued(run.job_id, limit=1)
        return any(execution_id != run.execution_id for _, execution_id in queued)

    async def way_in(self, run: Run) -> Change | None:
        """The change that makes a run its job's active one; None while another one is.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        current = await self._store.current(run.job_id)
        if current is None:
            return claim_current(run)
        if current.value != run.execution_id:
            active = await self._store.run(current.value)
            if active is not None and not active.value.state.finished:
                return None
        return Replace(CURRENT, current_columns(run.execution_id), current.etag)

    async def tell_active(self, job_id: str) -> bool:
        """Tells a job's active run that others wait for its end; False when there is none.

        Raises:
            StorageUnavailable: storage cannot be reached, or the run changes all the time.
        """
        for pause in pauses():
            current = await self._store.current(job_id)
            active = await self._store.run(current.value) if current is not None else None
            if active is None or active.value.state.finished:
                return False
            if active.value.followed:
                return True
            try:
                await self._store.save(replace(active.value, followed=True), active.etag)
            except ConflictingWrite:
                await asyncio.sleep(pause)
                continue
            return True
        raise StorageUnavailable(f"the active run of {job_id} changes all the time")

    async def _stand_back(self, run: Run, etag: str | None, now: datetime) -> Stored[Run]:
        if run.overlap is not Overlap.QUEUE:
            return await self._write(skipped(run, await self._obstacle(run), now), etag, [])
        limit = MAX_MADE_UP if _is_made_up(run) else MAX_QUEUED
        queued = await self._store.queued(run.job_id, limit=limit)
        others = [execution_id for _, execution_id in queued if execution_id != run.execution_id]
        if len(others) >= limit:
            reason = f"{limit} runs are waiting for an earlier one already"
            return await self._write(skipped(run, reason, now), etag, [])
        waiting = Upsert(queue_key(run), {"execution_id": run.execution_id})
        return await self._write(run, etag, [waiting])

    async def _obstacle(self, run: Run) -> str:
        current = await self._store.current(run.job_id)
        name = f": {current.value}" if current is not None else ""
        return f"another run of the job is unfinished{name}"

    async def _write(self, run: Run, etag: str | None, changes: list[Change]) -> Stored[Run]:
        if etag is None:
            return await self._store.create(run, changes)
        return await self._store.save(run, etag, changes)


def queue_key(run: Run) -> str:
    """The row key under which a run waits for its job's active one."""
    scheduled = run.trigger is Trigger.SCHEDULE
    since = run.scheduled_time if scheduled else run.created_at
    return f"{QUEUE_PREFIX}{sortable(since)}:{run.execution_id}"


def overlap_of(job: Job, trigger: Trigger, scheduled: datetime, now: datetime) -> Overlap:
    """The rule for a run of a job: those of a backfill, and those that `catch_up: all` makes up
    for, wait for each other where they would be skipped."""
    schedule = job.schedule
    if schedule is None:
        return Overlap.ALLOW
    made_up = trigger is Trigger.SCHEDULE and now - scheduled > lateness_allowed(schedule)
    all_made_up = made_up and schedule.catch_up is CatchUp.ALL
    waits = all_made_up or trigger is Trigger.BACKFILL
    return Overlap.QUEUE if waits and schedule.overlap is Overlap.SKIP else schedule.overlap


def _is_made_up(run: Run) -> bool:
    late = run.created_at - run.scheduled_time > timedelta(seconds=LATE_SECONDS)
    return run.trigger is Trigger.BACKFILL or (run.trigger is Trigger.SCHEDULE and late)


def skipped(run: Run, reason: str, now: datetime) -> Run:
    """The run as one that never starts, and why."""
    if run.state is not RunState.PENDING:
        raise ValueError(f"{run.execution_id} has started")
    ended = run.after(RunEvent.IS_SKIPPED, end_time=now, progress_at=now, message=reason)
    steps = tuple(
        step if step.status.finished else step.after(StepEvent.IS_SKIPPED) for step in run.steps
    )
    return replace(ended, holds_current=False, steps=steps)
