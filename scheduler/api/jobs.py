"""The use cases of stored jobs: create, read, replace, patch, delete, schedule."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from scheduler.api.job_body import parse_job, unwrap_job, warnings
from scheduler.api.job_view import job_document
from scheduler.api.merge_patch import merge_patch
from scheduler.api.preconditions import check_match
from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.errors import InvalidRequest
from scheduler.jobs.catalog import Catalog, JobRow, new_revision
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.due import Due
from scheduler.jobs.model import Job
from scheduler.schedule.plan import plan_job
from scheduler.schedule.tick import DueRow, Tick
from scheduler.schedule.triggers import preview, validate_schedule
from scheduler.security.audit import AuditLog, Caller
from scheduler.security.principals import Principal
from scheduler.settings import Settings
from steps.registry import Registry

PREVIEWED_RUNS = 5
VIEW_FIELDS = frozenset({"created_at", "updated_at", "note", "schedule_error"})
"""What a job's view has beside its definition: what was read may be put back as it is."""


@dataclass(frozen=True, slots=True)
class JobReply:
    """What a call about one job answers, and the job's `ETag`."""

    body: dict[str, Any]
    etag: str
    created: bool = False


class Jobs:
    """Stored jobs, as their callers see them."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        definitions: Definitions,
        dispatcher: Dispatcher,
        tick: Tick,
        registry: Registry,
        audit: AuditLog,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._dispatcher = dispatcher
        self._tick = tick
        self._registry = registry
        self._audit = audit
        self._horizon_seconds = settings.tick_horizon_seconds
        self._clock = clock

    async def create(
        self, caller: Caller, principal: Principal, body: Mapping[str, Any]
    ) -> JobReply:
        """Stores a new job.

        Raises:
            InvalidRequest: with every fault of the definition.
            Conflict: `job_exists`.
        """
        document, where = unwrap_job(body)
        job = self.parse(principal, document, where=where)
        return await self.store(caller, job, "create_job")

    def parse(
        self,
        principal: Principal,
        document: Mapping[str, Any],
        *,
        where: str = "",
        job_id: str | None = None,
        anchor: datetime | None = None,
    ) -> Job:
        """Reads a job from a body, and makes sure that the caller may use its step types.

        Raises:
            InvalidRequest: with every fault of the definition.
            Forbidden: the caller has no right to one of the step types.
        """
        job = parse_job(
            document,
            registry=self._registry,
            now=self._clock.now(),
            new_id=lambda: f"job-{secrets.token_hex(6)}",
            job_id=job_id,
            anchor=anchor,
            where=where,
        )
        principal.require_step_types(job.step_types)
        return job

    async def store(self, caller: Caller, job: Job, action: str) -> JobReply:
        """Stores a new job that has been read already.

        Raises:
            InvalidRequest: an enabled job's schedule has no run ahead.
            Conflict: `job_exists`.
        """
        now = self._clock.now()
        self._require_a_run(job, now)
        await self._catalog.require_new(job.id)
        await self._dispatcher.open_zone(job.timezone)
        definition = await self._definitions.put(job)
        due = plan_job(job, new_revision(), now)
        etag = await self._catalog.create(job, definition, due, now)
        await self._announce(due, etag)
        await self._audit.record(caller, action, f"job:{job.id}")
        row = await self._catalog.require(job.id)
        return JobReply(self._view(job, row, now, "job created"), row.version, created=True)

    async def read(self, job_id: str) -> JobReply:
        """A job's definition, state and next runs.

        Raises:
            NotFound: `job_not_found`.
        """
        row = await self._catalog.require(job_id)
        job = await self._definitions.load(row.job_id, row.definition)
        body = self._view(job, row, self._clock.now(), None)
        planned = await self._catalog.next_run(job_id)
        if planned is not None and planned.error is not None:
            body["job"]["schedule_error"] = planned.error
        return JobReply(body, row.version)

    async def replace(
        self,
        caller: Caller,
        principal: Principal,
        job_id: str,
        body: Mapping[str, Any],
        if_match: str | None,
    ) -> JobReply:
        """Replaces a job, or makes it when there is none of this id.

        Raises:
            InvalidRequest: with every fault of the definition.
            PreconditionFailed: `if_match` is not the stored version.
        """
        document, where = unwrap_job(body)
        document = {name: value for name, value in document.items() if name not in VIEW_FIELDS}
        row = await self._catalog.find(job_id)
        check_match(if_match, row.version if row else None)
        if row is None:
            job = self.parse(principal, document, where=where, job_id=job_id)
            return await self.store(caller, job, "create_job")
        principal.require_step_types(row.step_types)
        before = await self._definitions.load(row.job_id, row.definition)
        anchor = before.schedule.anchor if before.schedule else None
        job = self.parse(principal, document, where=where, job_id=job_id, anchor=anchor)
        return await self._change(caller, row, before, job)

    async def patch(
        self,
        caller: Caller,
        principal: Principal,
        job_id: str,
        body: Mapping[str, Any],
        if_match: str | None,
    ) -> JobReply:
        """Changes a job by a JSON merge patch (RFC 7396).

        Raises:
            InvalidRequest: the patched definition has faults.
            NotFound: `job_not_found`.
            PreconditionFailed: `if_match` is not the stored version.
        """
        row = await self._catalog.require(job_id)
        check_match(if_match, row.version)
        before = await self._definitions.load(row.job_id, row.definition)
        principal.require_step_types(before.step_types)
        document = merge_patch(_for_patch(before, body), dict(body))
        anchor = before.schedule.anchor if before.schedule else None
        job = self.parse(principal, document, job_id=job_id, anchor=anchor)
        return await self._change(caller, row, before, job)

    async def delete(
        self, caller: Caller, principal: Principal, job_id: str, if_match: str | None
    ) -> dict[str, Any]:
        """Deletes a job; its unfinished runs go on.

        Raises:
            NotFound: `job_not_found`.
            PreconditionFailed: `if_match` is not the stored version.
        """
        row = await self._catalog.require(job_id)
        principal.require_step_types(row.step_types)
        check_match(if_match, row.version)
        await self._catalog.delete(row)
        await self._audit.record(caller, "delete_job", f"job:{job_id}")
        return {"message": f"job {job_id} deleted", "job_id": job_id}

    async def _change(self, caller: Caller, row: JobRow, before: Job, job: Job) -> JobReply:
        now = self._clock.now()
        keeps_plan = (
            before.schedule == job.schedule
            and before.timezone == job.timezone
            and before.enabled == job.enabled
        )
        if not keeps_plan:
            self._require_a_run(job, now)
            await self._announce_overdue(row.job_id, now)
        await self._dispatcher.open_zone(job.timezone)
        definition = await self._definitions.put(job)
        due = plan_job(job, row.revision if keeps_plan else new_revision(), now)
        etag = await self._catalog.change(row, job, definition, due, now, keeps_plan=keeps_plan)
        if not keeps_plan:
            await self._announce(due, etag)
        await self._audit.record(caller, "change_job", f"job:{job.id}")
        changed = await self._catalog.require(job.id)
        return JobReply(self._view(job, changed, now, "job changed"), changed.version)

    async def _announce_overdue(self, job_id: str, now: datetime) -> None:
        """Announces a run that is due and a late tick has not seen: the change would lose it."""
        planned = await self._catalog.next_run(job_id)
        if planned is not None and planned.nominal <= now:
            due = await self._catalog.due(job_id, planned.due_key)
            if due is not None:
                await self._tick.announce([DueRow(due, None)])

    def _require_a_run(self, job: Job, now: datetime) -> None:
        if job.enabled and job.schedule is not None:
            try:
                validate_schedule(job.schedule, job.timezone, now)
            except InvalidRequest as error:
                raise error.under("/schedule") from None

    async def _announce(self, due: Due | None, etag: str) -> None:
        """Does the tick's work for a run that falls due before the tick looks again."""
        if due is None:
            return
        if (due.at - self._clock.now()).total_seconds() < self._horizon_seconds:
            await self._tick.announce([DueRow(due, etag or None)])

    def _view(self, job: Job, row: JobRow, now: datetime, message: str | None) -> dict[str, Any]:
        shown = job_document(replace(job, enabled=row.enabled))
        shown |= {
            "created_at": row.created_at,
            "updated_at": row.updated_at,
            "note": row.note,
        }
        runs = (
            preview(job.schedule, job.timezone, now, PREVIEWED_RUNS)
            if job.schedule is not None and row.enabled
            else []
        )
        body = {"job_id": job.id, "job": shown, "next_runs": runs, "warnings": warnings(job)}
        return body if message is None else {"message": message, **body}


def _for_patch(job: Job, patch: Mapping[str, Any]) -> dict[str, Any]:
    """The document that a patch changes; another type of schedule does not inherit the anchor."""
    document = job_document(job)
    changed = patch.get("schedule")
    if (
        job.schedule is not None
        and isinstance(changed, dict)
        and changed.get("type", job.schedule.type) != job.schedule.type
    ):
        document["schedule"].pop("anchor", None)
    return document
