"""Every change of a stored job: written with its plan, announced when it is due soon, audited."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from scheduler.api.idempotency import Idempotency, Once
from scheduler.api.job_view import job_document
from scheduler.api.job_warnings import job_warnings
from scheduler.clock import Clock
from scheduler.dispatch.control import Control
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import Trigger
from scheduler.errors import Conflict, InvalidRequest, PreconditionFailed
from scheduler.jobs.catalog import Catalog, new_revision
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.due import Due
from scheduler.jobs.job_row import JobRow
from scheduler.jobs.model import Job, JobId, ScheduleType
from scheduler.schedule.due_rows import DueRow
from scheduler.schedule.plan import plan_job
from scheduler.schedule.tick import Tick
from scheduler.schedule.triggers import preview, validate_schedule
from scheduler.security.audit import AuditLog, Caller
from scheduler.settings import Settings
from scheduler.storage.contention import pauses

PREVIEWED_RUNS = 5


@dataclass(frozen=True, slots=True)
class JobReply:
    """What a call about one job answers, and the job's `ETag`."""

    body: dict[str, Any]
    etag: str
    created: bool = False
    replayed: bool = False
    """Whether the same call had done it before."""


class JobChanges:
    """Stores and changes jobs that have been read and checked already."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        definitions: Definitions,
        dispatcher: Dispatcher,
        control: Control,
        tick: Tick,
        audit: AuditLog,
        idempotency: Idempotency,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._dispatcher = dispatcher
        self._control = control
        self._tick = tick
        self._audit = audit
        self._idempotency = idempotency
        self._horizon_seconds = settings.tick_horizon_seconds
        self._clock = clock

    async def stored_before(self, once: Once | None) -> JobReply | None:
        """The job that the same call has stored, as that call answered it; None if it did not.

        Raises:
            IdempotencyKeyReused: the key of `once` stands for another call.
            Conflict: `job_deleted`: it is gone again.
        """
        reserved = await self._idempotency.find(once)
        if once is None or reserved is None:
            return None
        row = await self._catalog.find(reserved.ids[0])
        if row is None or row.created_at != reserved.at:
            if reserved.done:
                raise Conflict(
                    f"the job {reserved.ids[0]!r}, which this Idempotency-Key made, has been"
                    " deleted since: send a new key to make it again",
                    code="job_deleted",
                )
            return None
        await self._idempotency.finish(once, reserved)
        job = await self._definitions.load(row.job_id, row.definition)
        body = self.view(job, row, "job created", since=row.changed_at)
        return JobReply(body, row.version, created=True, replayed=True)

    async def store(
        self,
        caller: Caller,
        job: Job,
        action: str,
        *,
        makes_up: bool = False,
        once: Once | None = None,
    ) -> JobReply:
        """Stores a new job. With `makes_up`, a single run that has passed may be made up for.

        With `once`, what the same call has stored, or stores meanwhile, is answered.

        Raises:
            InvalidRequest: an enabled job's schedule has no run ahead.
            Conflict: `job_exists`, `job_deleted`.
            IdempotencyKeyReused: the key of `once` stands for another call.
        """
        try:
            return await self._store(caller, job, action, makes_up=makes_up, once=once)
        except Conflict as error:
            made = await self.stored_before(once) if error.code == "job_exists" else None
            if made is None:
                raise
            return made

    async def _store(
        self, caller: Caller, job: Job, action: str, *, makes_up: bool, once: Once | None
    ) -> JobReply:
        now = self._clock.now()
        since = runs_since(job, now, makes_up=makes_up)
        require_a_run(job, since)
        await self._catalog.require_new(job.id)
        await self._dispatcher.open_zone(job.timezone)
        reserved = None
        if once is not None:
            reserved = await self._idempotency.reserve(once, job.id)
            job = replace(job, id=JobId(reserved.ids[0]))  # the first try may have made one up
        definition = await self._definitions.put(job)
        due = plan_job(job, new_revision(), since)
        created = reserved.at if reserved is not None else None
        etag = await self._catalog.create(job, definition, due, now, created=created)
        await self._announce(due, etag)
        await self._audit.record(caller, action, f"job:{job.id}")
        if once is not None and reserved is not None:
            await self._idempotency.finish(once, reserved)
        row = await self._catalog.require(job.id)
        return JobReply(self.view(job, row, "job created"), row.version, created=True)

    async def change(
        self,
        caller: Caller,
        row: JobRow,
        before: Job,
        job: Job,
        *,
        action: str = "change_job",
        note: str | None = None,
        makes_up: bool = False,
    ) -> JobReply:
        """Replaces the job `before`, stored as `row`; `note` says why a job is paused.

        Raises:
            InvalidRequest: an enabled job's new schedule has no run ahead.
            PreconditionFailed: the job has been changed since `row` was read.
        """
        now = self._clock.now()
        since = runs_since(job, now, makes_up=makes_up)
        keeps_plan = (
            before.schedule == job.schedule
            and before.timezone == job.timezone
            and before.enabled == job.enabled
        )
        if not keeps_plan:
            require_a_run(job, since)
            await self.announce_overdue(row.job_id)
        await self._dispatcher.open_zone(job.timezone)
        definition = await self._definitions.put(job)
        due = plan_job(job, row.revision if keeps_plan else new_revision(), since)
        etag = await self._catalog.change(
            row, job, definition, due, now, keeps_plan=keeps_plan, note=note
        )
        if not keeps_plan:
            await self._announce(due, etag)
        await self._audit.record(caller, action, f"job:{job.id}")
        changed = await self._catalog.require(job.id)
        return JobReply(self.view(job, changed, "job changed"), changed.version)

    async def announce_overdue(self, job_id: str) -> None:
        """Announces a run that is due and no tick has seen: a change of its job would lose it.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        planned = await self._catalog.next_run(job_id)
        if planned is not None and planned.nominal <= self._clock.now():
            due = await self._catalog.due(job_id, planned.due_key)
            if due is not None:
                await self._tick.announce([DueRow(due, None)])

    async def _announce(self, due: Due | None, etag: str) -> None:
        """Does the tick's work for a run that falls due before the tick looks again."""
        if due is None:
            return
        if (due.at - self._clock.now()).total_seconds() >= self._horizon_seconds:
            return
        if (await self._control.read()).state.admits(Trigger.SCHEDULE):
            await self._tick.announce([DueRow(due, etag or None)])

    def view(
        self, job: Job, row: JobRow, message: str | None, *, since: datetime | None = None
    ) -> dict[str, Any]:
        """The reply about a job: its definition and state, its next runs from now or `since`."""
        shown = job_document(replace(job, enabled=row.enabled))
        shown |= {
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "note": row.note,
        }
        now = since or self._clock.now()
        runs = (
            preview(job.schedule, job.timezone, now, PREVIEWED_RUNS)
            if job.schedule is not None and row.enabled
            else []
        )
        warnings = job_warnings(job, now)
        body = {"job_id": job.id, "job": shown, "next_runs": runs, "warnings": warnings}
        return body if message is None else {"message": message, **body}


def require_a_run(job: Job, now: datetime) -> None:
    """Makes sure that a run of an enabled job with a schedule lies ahead.

    Raises:
        InvalidRequest: there is none; it names the field of the schedule.
    """
    if job.enabled and job.schedule is not None:
        try:
            validate_schedule(job.schedule, job.timezone, now)
        except InvalidRequest as error:
            raise error.under("/schedule") from None


def asks_to_make_up(document: Mapping[str, Any]) -> bool:
    """Whether a job's body says itself, and not by default, that a missed run is made up for."""
    schedule = document.get("schedule")
    return isinstance(schedule, dict) and schedule.get("catch_up") in ("latest", "all")


async def until_unraced[T](if_match: str | None, change: Callable[[], Awaitable[T]]) -> T:
    """Repeats a change that lost a race, unless the caller named the version that it is meant for.

    Raises:
        PreconditionFailed: `if_match` is not the stored version.
        Conflict: `busy`: the job changes all the time.
    """
    for pause in pauses():
        try:
            return await change()
        except PreconditionFailed:
            if if_match is not None:
                raise
        await asyncio.sleep(pause)
    raise Conflict("the job is being changed by others all the time: try again", code="busy")


def runs_since(job: Job, now: datetime, *, makes_up: bool) -> datetime:
    """The instant after which a job's first run may lie: `now`, or before it when made up for."""
    schedule = job.schedule
    if not makes_up or schedule is None or schedule.type is not ScheduleType.ONCE:
        return now
    return now - timedelta(seconds=schedule.catch_up_window_seconds)
