"""Definitions that nobody needs any more: of replaced, deleted and inline jobs without runs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import batched

from scheduler.clock import Clock
from scheduler.execution.rules.model import Run
from scheduler.jobs.catalog import Catalog, CurrentDefinition
from scheduler.jobs.definitions import Definitions, StoredDefinition
from scheduler.storage.at_once import at_once
from scheduler.storage.tables import Table
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_CHANGED = timedelta(hours=1)
"""Within it a run is made of what was read, or written, for it."""
_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class SweepPlace:
    """Where a pass over all definitions goes on: on which page, beyond which of them."""

    token: str = ""
    beyond: str = ""


class UnusedDefinitions:
    """Deletes definitions that are no job's, and of which no run is left.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(
        self, definitions: Definitions, executions: Table, catalog: Catalog, clock: Clock
    ) -> None:
        self._definitions = definitions
        self._executions = executions
        self._catalog = catalog
        self._clock = clock

    async def delete_of(self, run: Run) -> None:
        """Deletes what an inline execution ran, unless another names it, or there is such a job."""
        found, _ = await self._definitions.page("", run.job_id, run.definition)
        if await self._catalog.find(run.job_id) is not None:
            return
        for one in found:
            if not await self._is_named(one, besides=run):
                await self._definitions.delete_unchanged(one)

    async def delete_all(self, job_id: str) -> None:
        """Deletes all of a job that is gone with its runs, but for those just written."""
        found, _ = await self._definitions.page("", job_id)
        for one in found:
            if one.written < self._clock.now() - _CHANGED:
                await self._definitions.delete_unchanged(one)

    async def sweep(
        self, place: SweepPlace, before: datetime, until: datetime
    ) -> SweepPlace | None:
        """Goes through a page of all definitions, for those written before an instant.

        Returns where the next call goes on; None at the end.
        """
        page, following = await self._definitions.page(place.token)
        old = [one for one in page if one.written < before and one.path > place.beyond]
        jobs = await self._catalog.current_definitions() if old else {}
        for some in batched(old, _AT_ONCE, strict=False):
            if self._clock.now() >= until:
                return place
            await self._delete_unused(some, jobs)
            place = SweepPlace(place.token, some[-1].path)
        return None if following is None else SweepPlace(following)

    async def _delete_unused(
        self, some: Sequence[StoredDefinition], jobs: Mapping[str, CurrentDefinition]
    ) -> None:
        async def look(one: StoredDefinition) -> bool:
            kept = self._is_kept(one, jobs) or await self._is_named(one)
            return not kept and await self._definitions.delete_unchanged(one)

        deleted = sum(await at_once(map(look, some)))
        if deleted:
            extra = {"action": "definitions_deleted", "count": deleted}
            log.info("definitions that nobody needs were deleted", extra=extra)

    def _is_kept(self, one: StoredDefinition, jobs: Mapping[str, CurrentDefinition]) -> bool:
        current = jobs.get(one.job_id)
        if current is None:
            return False
        changed = current.changed_at is None or current.changed_at > self._clock.now() - _CHANGED
        return changed or current.name == one.name

    async def _is_named(self, one: StoredDefinition, besides: Run | None = None) -> bool:
        """Whether a run of the job names the definition, be it not this one."""
        own = None if besides is None else besides.key.run_row
        where, token = {"definition": [one.name]}, ""
        while True:
            page = await self._executions.page(
                one.job_id, "r:", "r;", select=["v"], where=where, limit=2, token=token
            )
            if any(row.key != own for row in page.rows):
                return True
            if page.following is None:
                return False
            token = page.following
