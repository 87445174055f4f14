"""The stored jobs: create, change, delete, find. A job's rows change in one transaction."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime

from scheduler.dispatch.ids import SHARDS, is_job_id, shard_of
from scheduler.errors import Conflict, ConflictingWrite, NotFound, PreconditionFailed
from scheduler.jobs.due import Due, due_of, next_key
from scheduler.jobs.job_row import JobRow, NextRun, job_columns, job_row, pause_columns
from scheduler.jobs.model import Job
from scheduler.storage.account import Storage
from scheduler.storage.contention import pauses
from scheduler.storage.keys import after
from scheduler.storage.tables import Change, Delete, Insert, Merge, Replace, Upsert
from scheduler.storage.values import instant, number, optional_text

JOB_PREFIX = "job:"
COUNT_KEY = "count"
_TRIES = 20


def new_revision() -> str:
    """A mark that changes with the schedule, the zone and `enabled`."""
    return secrets.token_hex(6)


@dataclass(frozen=True, slots=True)
class CurrentDefinition:
    """The hash of a job's definition, and when the job was last changed; None where unreadable."""

    name: str | None
    changed_at: datetime | None


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
        return None if row is None else job_row(row)

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

    async def create(
        self,
        job: Job,
        definition: str,
        due: Due | None,
        now: datetime,
        *,
        created: datetime | None = None,
    ) -> str:
        """Stores a new job; returns the ETag of its due row, or "".

        `created` is when it was first asked for, `now` when not given.

        Raises:
            Conflict: `job_exists`.
        """
        revision = due.revision if due is not None else new_revision()
        columns = job_columns(
            job, definition, revision=revision, changed=now, created=created or now, now=now
        )
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
        note: str | None,
    ) -> str:
        """Replaces a job; with `keeps_plan` its schedule, zone and `enabled` are as they were.

        `note` says why a job is paused. Returns the ETag of a new due row, or "".

        Raises:
            PreconditionFailed: the job has been changed since `row` was read.
        """
        revision = row.revision if keeps_plan else due.revision if due else new_revision()
        columns = job_columns(
            job,
            definition,
            revision=revision,
            changed=row.changed_at if keeps_plan else now,
            created=row.created_at,
            now=now,
        )
        columns |= {"note": note or "", **pause_columns(row, job, now)}
        for pause in pauses(_TRIES):
            changes: list[Change] = [Replace(JOB_PREFIX + job.id, columns, row.etag)]
            if not keeps_plan:
                changes += await self._plan_anew(job.id, due)
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
                *await self._plan_anew(row.job_id, None),
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
            yield job_row(row)

    async def current_definitions(self) -> dict[str, CurrentDefinition]:
        """Those of all jobs, by job id."""
        found: dict[str, CurrentDefinition] = {}
        for shard in SHARDS:
            rows = self._jobs.query(
                shard, JOB_PREFIX, after(JOB_PREFIX), select=["definition", "updated_at"]
            )
            async for row in rows:
                name, changed = row.values.get("definition"), row.values.get("updated_at")
                found[row.key.removeprefix(JOB_PREFIX)] = CurrentDefinition(
                    optional_text(name), changed if isinstance(changed, datetime) else None
                )
        return found

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

    async def _plan_anew(self, job_id: str, due: Due | None) -> list[Change]:
        """Puts a due row in the place of the present one, unless a tick moves that meanwhile."""
        key = next_key(job_id)
        pointer = await self._jobs.get(shard_of(job_id), key)
        if pointer is None:
            if due is None:
                return []
            return [Upsert(due.key, due.columns()), Insert(key, due.pointer())]
        old_key = str(pointer.values["due_key"])
        if due is None:
            return [Delete(old_key, None), Delete(key, pointer.etag)]
        changes: list[Change] = [Upsert(due.key, due.columns())]
        if old_key != due.key:
            changes.append(Delete(old_key, None))
        return [*changes, Replace(key, due.pointer(), pointer.etag)]


def _planned(due: Due | None) -> list[Change]:
    if due is None:
        return []
    return [Upsert(due.key, due.columns()), Upsert(due.next_key, due.pointer())]
