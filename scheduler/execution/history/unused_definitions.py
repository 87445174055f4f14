"""Definitions that nobody needs any more: of replaced, deleted and inline jobs without runs."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from scheduler.dispatch.ids import SHARDS
from scheduler.execution.rules.model import Run
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions, StoredDefinition
from scheduler.jobs.job_row import JobRow
from scheduler.storage.tables import Table
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_CHANGED = timedelta(hours=1)
"""A run that has read its job's row and not yet made its own has done so after that."""


class UnusedDefinitions:
    """Deletes definitions that are no job's, and of which no run is left.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(self, definitions: Definitions, executions: Table, catalog: Catalog) -> None:
        self._definitions = definitions
        self._executions = executions
        self._catalog = catalog

    async def delete(self, job_id: str, name: str, *, besides: Run) -> None:
        """Deletes a definition that no other run than this one names; no job may have it."""
        if not await self._is_named(job_id, name, besides):
            await self._definitions.delete(job_id, name)

    async def sweep(self, token: str, before: datetime, now: datetime) -> tuple[int, str | None]:
        """Deletes those of a page of all definitions that were written before an instant.

        Returns how many, and the token of the next page; None at the end.
        """
        page, following = await self._definitions.page(token)
        old = [one for one in page if one.written < before]
        jobs = await self._jobs() if old else {}
        deleted = 0
        for one in old:
            if not _is_kept(jobs.get(one.job_id), one, now) and not await self._is_named(
                one.job_id, one.name
            ):
                deleted += await self._definitions.delete_unchanged(one)
        if deleted:
            extra = {"action": "definitions_deleted", "count": deleted}
            log.info("definitions that nobody needs were deleted", extra=extra)
        return deleted, following

    async def _jobs(self) -> Mapping[str, JobRow]:
        return {row.job_id: row for shard in SHARDS async for row in self._catalog.rows(shard, "")}

    async def _is_named(self, job_id: str, name: str, besides: Run | None = None) -> bool:
        """Whether a run of the job names the definition, be it not this one."""
        own = None if besides is None else besides.key.run_row
        where, token = {"definition": [name]}, ""
        while True:
            page = await self._executions.page(
                job_id, "r:", "r;", select=["v"], where=where, limit=2, token=token
            )
            if any(row.key != own for row in page.rows):
                return True
            if page.following is None:
                return False
            token = page.following


def _is_kept(job: JobRow | None, one: StoredDefinition, now: datetime) -> bool:
    return job is not None and (job.definition == one.name or job.updated_at > now - _CHANGED)
