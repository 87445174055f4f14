"""The use cases of stored jobs: create, read, replace, patch, delete, pause, resume."""

import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from scheduler.api.action_bodies import PauseBody, ResumeBody
from scheduler.api.faults import Faults, below
from scheduler.api.idempotency import Once
from scheduler.api.job_body import parse_job, unwrap_job
from scheduler.api.job_changes import JobChanges, JobReply, asks_to_make_up, until_unraced
from scheduler.api.job_view import job_document
from scheduler.api.merge_patch import merge_patch
from scheduler.api.paging import read_flag
from scheduler.api.preconditions import check_match, check_none_match
from scheduler.api.wire_model import read_model
from scheduler.clock import Clock
from scheduler.dispatch.ids import ExecutionId
from scheduler.errors import Conflict, PreconditionFailed
from scheduler.execution.cancel import Cancellation
from scheduler.execution.history.erasing import Eraser
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job
from scheduler.security.audit import AuditLog, Caller
from scheduler.security.principals import Principal
from steps.registry import Registry


class Jobs:
    """Stored jobs, as their callers see them."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        definitions: Definitions,
        changes: JobChanges,
        cancellation: Cancellation,
        eraser: Eraser,
        registry: Registry,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._changes = changes
        self._cancellation = cancellation
        self._eraser = eraser
        self._registry = registry
        self._audit = audit
        self._clock = clock

    async def create(
        self,
        caller: Caller,
        principal: Principal,
        body: Mapping[str, Any],
        once: Once | None = None,
    ) -> JobReply:
        """Stores a new job; with `once`, the same call again finds it.

        Raises:
            InvalidRequest: with every fault of the definition.
            Conflict: `job_exists`, `job_deleted`.
            IdempotencyKeyReused: the key of `once` stands for another call.
        """
        before = await self._changes.stored_before(once)
        if before is not None:
            return before
        around = Faults()
        document, where = unwrap_job(body, around)
        job = self.parse(principal, document, where=where, faults=around)
        with below(where):
            return await self._changes.store(
                caller, job, "create_job", makes_up=asks_to_make_up(document), once=once
            )

    def parse(
        self,
        principal: Principal,
        document: Mapping[str, Any],
        *,
        where: str = "",
        job_id: str | None = None,
        anchor: datetime | None = None,
        faults: Faults | None = None,
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
            faults=faults,
        )
        principal.require_step_types(job.step_types)
        return job

    async def read(self, job_id: str) -> JobReply:
        """A job's definition, state and next runs.

        Raises:
            NotFound: `job_not_found`.
        """
        row = await self._catalog.require(job_id)
        job = await self._definitions.load(row.job_id, row.definition)
        body = self._changes.view(job, row, None)
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
        if_none_match: str | None = None,
    ) -> JobReply:
        """Replaces a job, or makes it when there is none of this id.

        Raises:
            InvalidRequest: with every fault of the definition.
            PreconditionFailed: `if_match` is not the stored version, or `if_none_match` is.
            Conflict: `busy`: others change it all the time.
        """
        around = Faults()
        document, where = unwrap_job(body, around)
        makes_up = asks_to_make_up(document)

        async def once() -> JobReply:
            row = await self._catalog.find(job_id)
            check_match(if_match, row.version if row else None)
            check_none_match(if_none_match, row.version if row else None)
            if row is None:
                job = self.parse(principal, document, where=where, job_id=job_id, faults=around)
                with below(where):
                    return await self._create_unraced(caller, job, makes_up=makes_up)
            principal.require_step_types(row.step_types)
            before = await self._definitions.load(row.job_id, row.definition)
            anchor = before.schedule.anchor if before.schedule else None
            job = self.parse(
                principal, document, where=where, job_id=job_id, anchor=anchor, faults=around
            )
            note = None if job.enabled else row.note
            with below(where):
                return await self._changes.change(
                    caller, row, before, job, note=note, makes_up=makes_up
                )

        return await until_unraced(if_match or if_none_match, once)

    async def _create_unraced(self, caller: Caller, job: Job, *, makes_up: bool) -> JobReply:
        try:
            return await self._changes.store(caller, job, "create_job", makes_up=makes_up)
        except Conflict as error:
            if error.code != "job_exists":
                raise
            raise PreconditionFailed("the job has been created meanwhile") from None

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
            Conflict: `busy`: others change it all the time.
        """
        changes, where = unwrap_job(body)

        async def once() -> JobReply:
            row = await self._catalog.require(job_id)
            check_match(if_match, row.version)
            before = await self._definitions.load(row.job_id, row.definition)
            principal.require_step_types(before.step_types)
            document = merge_patch(_for_patch(before, changes), dict(changes))
            anchor = before.schedule.anchor if before.schedule else None
            job = self.parse(principal, document, where=where, job_id=job_id, anchor=anchor)
            note = None if job.enabled else row.note
            with below(where):
                return await self._changes.change(
                    caller, row, before, job, note=note, makes_up=asks_to_make_up(changes)
                )

        return await until_unraced(if_match, once)

    async def pause(
        self,
        caller: Caller,
        principal: Principal,
        job_id: str,
        body: Mapping[str, Any],
        if_match: str | None,
    ) -> JobReply:
        """Keeps a job's schedule from starting it; `note` says why. Pausing again changes the note.

        Raises:
            InvalidRequest: the body has other fields, or a note that is no text.
            NotFound: `job_not_found`.
            PreconditionFailed: `if_match` is not the stored version.
        """
        note = read_model(PauseBody, body, "a pause").note
        return await self._switch(caller, principal, job_id, if_match, enabled=False, note=note)

    async def resume(
        self,
        caller: Caller,
        principal: Principal,
        job_id: str,
        body: Mapping[str, Any],
        if_match: str | None,
    ) -> JobReply:
        """Lets a job's schedule start it again, counting from now.

        Raises:
            InvalidRequest: the body has fields, or the schedule has no run ahead.
            NotFound: `job_not_found`.
            Forbidden: the caller has no right to one of the step types.
            PreconditionFailed: `if_match` is not the stored version.
        """
        read_model(ResumeBody, body, "a resume")
        return await self._switch(caller, principal, job_id, if_match, enabled=True, note=None)

    async def _switch(
        self,
        caller: Caller,
        principal: Principal,
        job_id: str,
        if_match: str | None,
        *,
        enabled: bool,
        note: str | None,
    ) -> JobReply:
        async def once() -> JobReply:
            row = await self._catalog.require(job_id)
            if enabled:
                principal.require_step_types(row.step_types)
            check_match(if_match, row.version)
            before = await self._definitions.load(row.job_id, row.definition)
            kept = row.note if not enabled and not row.enabled else None
            return await self._changes.change(
                caller,
                row,
                before,
                replace(before, enabled=enabled),
                action="resume_job" if enabled else "pause_job",
                note=note or kept,
            )

        reply = await until_unraced(if_match, once)
        reply.body["message"] = "job resumed" if enabled else "job paused"
        return reply

    async def delete(
        self,
        caller: Caller,
        principal: Principal,
        job_id: str,
        if_match: str | None,
        query: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Deletes a job; its unfinished runs go on, unless the query's `cancel` is true.

        Raises:
            InvalidRequest: `cancel` is neither true nor false.
            NotFound: `job_not_found`.
            PreconditionFailed: `if_match` is not the stored version.
        """
        cancels = read_flag(query or {}, "cancel")
        row = await self._catalog.require(job_id)
        principal.require_step_types(row.step_types)
        check_match(if_match, row.version)
        cancelled: set[str] = set()
        if cancels:  # before, so that a call that breaks off can be repeated
            cancelled.update(await self._cancel_all(job_id, principal.id))
        await self._changes.announce_overdue(job_id)
        await self._catalog.delete(row)
        if cancels:  # and what has started meanwhile
            cancelled.update(await self._cancel_all(job_id, principal.id))
        await self._eraser.forget(job_id)
        await self._audit.record(caller, "delete_job", f"job:{job_id}")
        told = {"cancelled": sorted(cancelled)} if cancels else {}
        return {"message": f"job {job_id} deleted", "job_id": job_id, **told}

    async def _cancel_all(self, job_id: str, by: str) -> list[ExecutionId]:
        return await self._cancellation.cancel_all(job_id, by, "its job was deleted")


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
