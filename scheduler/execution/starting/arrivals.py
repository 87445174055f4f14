"""Turns an announced run into an execution: fresh, skipped, or none at all when it is stale."""

from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.ids import ExecutionId, Trigger, key_of
from scheduler.dispatch.run_index import Announcement
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.rules.graph import initial_states
from scheduler.execution.rules.model import Run
from scheduler.execution.starting.missed import reason_given_up
from scheduler.execution.starting.overlap import OverlapRule, overlap_of, skipped
from scheduler.execution.store import ExecutionStore, Stored
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.job_row import JobRow
from scheduler.jobs.model import Job
from scheduler.schedule.triggers import next_instant

_MOMENT = timedelta(microseconds=1)


class Arrivals:
    """Makes executions of stored jobs."""

    def __init__(
        self,
        catalog: Catalog,
        definitions: Definitions,
        store: ExecutionStore,
        overlap: OverlapRule,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._store = store
        self._overlap = overlap
        self._clock = clock

    async def current_job(
        self, execution_id: ExecutionId, revision: str
    ) -> tuple[JobRow, Job] | None:
        """A run's job, when it is enabled and still of the revision that announced the run.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._catalog.find(key_of(execution_id).job_id)
        if row is None or not row.enabled or row.revision != revision:
            return None
        return row, await self._definitions.load(row.job_id, row.definition)

    async def arrive(self, announced: Announcement, *, enters: bool = True) -> Stored[Run] | None:
        """Makes the execution of an announcement; None when the announcement is void.

        Unless it `enters`, whether it overlaps with another is left to be decided later.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if announced.trigger is not Trigger.SCHEDULE:
            return None
        now = self._clock.now()
        row = await self._catalog.find(key_of(announced.execution_id).job_id)
        reason = _reason_to_skip(announced, row)
        if reason is not None:
            return await self._make_skipped(announced, row, reason, now)
        if row is None:
            return None
        job = await self._definitions.load(row.job_id, row.definition)
        if _is_stale(announced, row) and not _is_due_anyway(announced, job):
            return None
        late = reason_given_up(job, announced.scheduled, announced.due, now) if enters else None
        if late is not None:
            return await self._make_skipped(announced, row, late, now)
        run = announced_run(announced, job, row.definition, now)
        try:
            if not enters:
                return await self._store.create(run)
            return await self._overlap.enter(run, None, now)
        except ConflictingWrite as error:
            if error.index != 0:
                raise StorageUnavailable(f"{run.execution_id} changes all the time") from error
            return await self._store.run(announced.execution_id)

    async def _make_skipped(
        self, announced: Announcement, row: JobRow | None, reason: str, now: datetime
    ) -> Stored[Run] | None:
        job_id = key_of(announced.execution_id).job_id
        run = Run(
            execution_id=announced.execution_id,
            job_name=row.name if row else job_id,
            timezone=announced.timezone,
            definition=row.definition if row else "",
            trigger=announced.trigger,
            scheduled_time=announced.scheduled,
            created_at=now,
            deadline=now,
            progress_at=now,
            steps=(),
        )
        try:
            return await self._store.create(skipped(run, reason, now))
        except ConflictingWrite:
            return await self._store.run(announced.execution_id)


def new_run(
    execution_id: ExecutionId,
    job: Job,
    definition: str,
    *,
    trigger: Trigger,
    scheduled: datetime,
    now: datetime,
    requested_by: str = "",
    inline: bool = False,
) -> Run:
    """A pending execution of a job."""
    return Run(
        execution_id=execution_id,
        job_name=job.name,
        timezone=job.timezone,
        definition=definition,
        trigger=trigger,
        scheduled_time=scheduled,
        created_at=now,
        deadline=now + timedelta(seconds=job.timeout_seconds),
        progress_at=now,
        steps=initial_states(job),
        overlap=overlap_of(job, trigger, scheduled, now),
        priority=job.priority,
        requested_by=requested_by,
        inline=inline,
    )


def announced_run(announced: Announcement, job: Job, definition: str, now: datetime) -> Run:
    """The pending execution of an announcement, in the zone of the queue that announced it: its
    slot and its `run:` row are there."""
    run = new_run(
        announced.execution_id,
        job,
        definition,
        trigger=announced.trigger,
        scheduled=announced.scheduled,
        now=now,
    )
    return replace(run, timezone=announced.timezone)


def announcement_of(run: Run) -> Announcement:
    """The announcement of an execution that is there already: to make its `run:` row anew."""
    return Announcement(
        execution_id=run.execution_id,
        timezone=run.timezone,
        trigger=run.trigger,
        scheduled=run.scheduled_time,
        due=run.scheduled_time if run.trigger is Trigger.SCHEDULE else run.created_at,
    )


def _reason_to_skip(announced: Announcement, row: JobRow | None) -> str | None:
    if announced.skip_reason is not None:
        return announced.skip_reason
    if row is None:
        return "the job was deleted before its time came"
    if announced.revision == row.revision:
        return None
    if announced.scheduled <= row.created_at:
        return "the job was deleted, and made anew, before the run could start"
    if not row.enabled or row.was_paused_at(announced.scheduled):
        return "the job was paused before the run could start"
    return None


def _is_stale(announced: Announcement, row: JobRow) -> bool:
    """Whether the job's schedule, zone or `enabled` changed before the run was due."""
    return announced.revision != row.revision and announced.scheduled > row.changed_at


def _is_due_anyway(announced: Announcement, job: Job) -> bool:
    """Whether the job runs at this instant as it is now, too.

    A tick that read the due row before the change announces the old revision over the new one's
    announcement of the same run: it is one run, and must not be dropped.
    """
    instant = announced.scheduled
    if job.schedule is None:
        return False
    return next_instant(job.schedule, job.timezone, instant - _MOMENT) == instant
