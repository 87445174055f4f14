"""The stored jobs: create, change, delete, find. A job's rows change in one transaction."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from scheduler.dispatch.ids import SHARDS, is_job_id, shard_of
from scheduler.errors import Conflict, ConflictingWrite, NotFound, PreconditionFailed
from scheduler.jobs.due import Due, due_of, next_key
from scheduler.jobs.model import Job
from scheduler.storage.account import Storage
from scheduler.storage.contention import pauses
from scheduler.storage.tables import Change, Delete, Insert, Merge, Replace, Row, Upsert, Value
from scheduler.storage.values import instant, number, optional_text

JOB_PREFIX = "job:"
COUNT_KEY = "count"
_TRIES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job's row: what lists and starts need without its definition."""

    job_id: str
    name: str
    timezone: str
    enabled: bool
    definition: str
    revision: str
    changed_at: datetime
    created_at: datetime
    updated_at: datetime
    step_types: frozenset[str]
    schedule_type: str | None
    expression: str | None
    priority: int
    note: str | None
    etag: str

    @property
    def version(self) -> str:
        """The `ETag` of the API: that of the definition."""
        return f'"{self.definition[:32]}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRun:
    """When a job runs next, as the tick has it; `error` when that could not be computed."""

    due_key: str
    nominal: datetime
    error: str | None


def new_revision() -> str:
    """A mark that changes with the schedule, the zone and `enabled`."""
    return secrets.token_hex(6)


class Catalog:
    """Reads and writes job rows. Definitions are stored by the caller, before.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(self, storage: Storage) -> None:
        self._jobs = storage.jobs

    async def find(self, job_id: str) -> JobRow | None:
        """Reads a job's row, or None; None too for what is no job id."""
        if not is_job_id(job_id):
            return None
        row = await self._jobs.get(shard_of(job_id), JOB_PREFIX + job_id)
        return None if row is None else _job_row(row)

    async def require(self, job_id: str) -> JobRow:
        """Reads a job's row.

        Raises:
            NotFound: `job_not_found`.
        """
        row = await self.find(job_id)
        if row is None:
            raise NotFound(f"there is no job {job_id[:100]!r}", code="job_not_found")
        return row

    async def require_new(self, job_id: str) -> None:
        """Makes sure that no job has this id.

        Raises:
            Conflict: `job_exists`.
        """
        if await self.find(job_id) is not None:
            raise Conflict(
                f"there is a job {job_id!r} already: change it with PUT, or choose another id",
                code="job_exists",
            )

    async def next_run(self, job_id: str) -> NextRun | None:
        """Reads the pointer to a job's due row, or None when nothing is planned."""
        row = await self._jobs.get(shard_of(job_id), next_key(job_id))
        if row is None:
            return None
        return NextRun(
            due_key=str(row.values["due_key"]),
            nominal=instant(row.values["nominal"]),
            error=optional_text(row.values.get("error")),
        )

    async def create(self, job: Job, definition: str, due: Due | None, now: datetime) -> str:
        """Stores a new job; returns the ETag of its due row, or "".

        Raises:
            Conflict: `job_exists`.
        """
        revision = due.revision if due is not None else new_revision()
        columns = _columns(job, definition, revision=revision, changed=now, created=now, now=now)
        for pause in pauses(_TRIES):
            changes: list[Change] = [
                Insert(JOB_PREFIX + job.id, columns),
                await self._count(shard_of(job.id), 1),
                *_planned(due),
            ]
            try:
                etags = await self._jobs.commit(shard_of(job.id), changes)
            except ConflictingWrite:
                await self.require_new(job.id)
                await asyncio.sleep(pause)
                continue
            return etags[2] if due is not None else ""
        raise Conflict("many jobs are being created at once: try again", code="busy")

    async def change(
        self,
        row: JobRow,
        job: Job,
        definition: str,
        due: Due | None,
        now: datetime,
        *,
        keeps_plan: bool,
    ) -> str:
        """Replaces a job; with `keeps_plan` its schedule, zone and `enabled` are as they were.

        Returns the ETag of a new due row, or "".

        Raises:
            PreconditionFailed: the job has been changed since `row` was read.
        """
        revision = row.revision if keeps_plan else due.revision if due else new_revision()
        columns = _columns(
            job,
            definition,
            revision=revision,
            changed=row.changed_at if keeps_plan else now,
            created=row.created_at,
            now=now,
        )
        columns["note"] = row.note or ""
        for pause in pauses(_TRIES):
            changes: list[Change] = [Replace(JOB_PREFIX + job.id, columns, row.etag)]
            if not keeps_plan:
                changes += [*_planned(due), *await self._old_plan(job.id, due)]
            try:
                etags = await self._jobs.commit(shard_of(job.id), changes)
            except ConflictingWrite as error:
                if error.index == 0:
                    raise PreconditionFailed("the job has been changed meanwhile") from None
                await asyncio.sleep(pause)
                continue
            return etags[1] if due is not None and not keeps_plan else ""
        raise Conflict("the job is being run and changed at once: try again", code="busy")

    async def delete(self, row: JobRow) -> None:
        """Removes a job and its plan; its runs and their definitions stay.

        Raises:
            PreconditionFailed: the job has been changed since `row` was read.
        """
        shard = shard_of(row.job_id)
        for pause in pauses(_TRIES):
            changes: list[Change] = [
                await self._count(shard, -1),
                Delete(JOB_PREFIX + row.job_id, row.etag),
                *await self._old_plan(row.job_id, None),
            ]
            try:
                await self._jobs.commit(shard, changes)
            except ConflictingWrite as error:
                if error.index == 1:
                    raise PreconditionFailed("the job has been changed meanwhile") from None
                await asyncio.sleep(pause)
                continue
            return
        raise Conflict("many jobs are being changed at once: try again", code="busy")

    async def total(self) -> int:
        """How many jobs are stored."""
        rows = await asyncio.gather(*(self._jobs.get(shard, COUNT_KEY) for shard in SHARDS))
        return sum(number(row.values["count"]) for row in rows if row is not None)

    async def rows(self, shard: str, beyond: str) -> AsyncIterator[JobRow]:
        """The jobs of a shard whose ids sort after `beyond`, in the order of their ids."""
        start = f"{JOB_PREFIX}{beyond}\x01" if beyond else JOB_PREFIX
        async for row in self._jobs.query(shard, start, "job;"):
            yield _job_row(row)

    async def due(self, job_id: str, key: str) -> Due | None:
        """Reads a due row, or None; None too for one that cannot be read, which the tick reports.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._jobs.get(shard_of(job_id), key)
        try:
            return None if row is None else due_of(row)
        except (KeyError, TypeError, ValueError):
            return None

    async def _count(self, shard: str, step: int) -> Change:
        row = await self._jobs.get(shard, COUNT_KEY)
        if row is None:
            return Insert(COUNT_KEY, {"v": 1, "count": step})
        count = number(row.values["count"]) + step
        return Merge(COUNT_KEY, {"count": count}, row.etag)

    async def _old_plan(self, job_id: str, due: Due | None) -> list[Change]:
        planned = await self.next_run(job_id)
        if planned is None:
            return []
        changes: list[Change] = []
        if due is None or planned.due_key != due.key:
            changes.append(Delete(planned.due_key, None))
        if due is None:
            changes.append(Delete(next_key(job_id), None))
        return changes


def _planned(due: Due | None) -> list[Change]:
    if due is None:
        return []
    return [Upsert(due.key, due.columns()), Upsert(due.next_key, due.pointer())]


def _columns(
    job: Job,
    definition: str,
    *,
    revision: str,
    changed: datetime,
    created: datetime,
    now: datetime,
) -> dict[str, Value]:
    return {
        "v": 1,
        "job_id": job.id,
        "name": job.name,
        "timezone": job.timezone,
        "enabled": job.enabled,
        "definition": definition,
        "revision": revision,
        "changed_at": changed,
        "created_at": created,
        "updated_at": now,
        "step_types": ",".join(sorted(job.step_types)),
        "schedule_type": job.schedule.type if job.schedule else "",
        "expression": job.schedule.expression if job.schedule else "",
        "priority": job.priority,
    }


def _job_row(row: Row) -> JobRow:
    values = row.values
    return JobRow(
        job_id=str(values["job_id"]),
        name=str(values["name"]),
        timezone=str(values["timezone"]),
        enabled=bool(values["enabled"]),
        definition=str(values["definition"]),
        revision=str(values["revision"]),
        changed_at=instant(values["changed_at"]),
        created_at=instant(values["created_at"]),
        updated_at=instant(values["updated_at"]),
        step_types=frozenset(str(values["step_types"]).split(",")),
        schedule_type=optional_text(values.get("schedule_type")),
        expression=optional_text(values.get("expression")),
        priority=number(values["priority"]),
        note=optional_text(values.get("note")),
        etag=row.etag,
    )
