"""Erases executions that have ended: rows, list entries, outputs, and definitions of their own."""

from collections.abc import AsyncIterator
from datetime import timedelta

from scheduler.clock import Clock
from scheduler.dispatch.ids import Trigger, key_of
from scheduler.errors import Conflict, ConflictingWrite
from scheduler.execution.rules.model import Run
from scheduler.execution.settle import Settlement, day_entries
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.storage.blobs import Container
from scheduler.storage.keys import after
from scheduler.storage.tables import Delete, Table

_SETTLED_AFTER = timedelta(hours=1)
"""After its instant no tick that is late announces a scheduled run any more."""


class Eraser:
    """Erases one execution a call; a call that breaks off may be repeated."""

    def __init__(
        self,
        *,
        store: ExecutionStore,
        executions: Table,
        days: Table,
        outputs: Container,
        definitions: Definitions,
        settlement: Settlement,
        catalog: Catalog,
        clock: Clock,
    ) -> None:
        self._store = store
        self._executions = executions
        self._days = days
        self._outputs = outputs
        self._definitions = definitions
        self._settlement = settlement
        self._catalog = catalog
        self._clock = clock

    async def erase(self, run: Run) -> None:
        """Erases an execution; its run row goes last.

        Raises:
            Conflict: `execution_unfinished`; `execution_in_use`: a retry that has not ended takes
                values over from it, or without its record its schedule would run it again.
            StorageUnavailable: storage cannot be reached.
        """
        await self._require_free(run)
        await self._settlement.settle_again(run)  # what is owed must not be lost with it
        for name in await self._outputs.names(f"{run.job_id}/{run.execution_id}/"):
            await self._outputs.delete(name)
        for day, key in day_entries(run):
            await _drop(self._days, day, key)
        if run.inline and await self._is_last_with_its_definition(run):
            await self._definitions.delete(run.job_id, run.definition)
        for key in [key async for key in self._rows(run)]:
            await _drop(self._executions, run.job_id, key)

    async def _rows(self, run: Run) -> AsyncIterator[str]:
        """The keys of its rows: its run row goes last, for it is what a repeated call finds."""
        key = run.key
        for source in run.retried:
            yield f"{key_of(source).retry_rows}{run.execution_id}"
        for prefix in (key.retry_rows, key.step_rows):
            rows = self._executions.query(key.job_id, prefix, after(prefix), select=["v"])
            async for row in rows:
                yield row.key
        yield key.run_row

    async def _is_last_with_its_definition(self, run: Run) -> bool:
        """Whether nobody else needs it; a job that was stored under the same id since may."""
        if await self._catalog.find(run.job_id) is not None:
            return False
        where, token = {"definition": [run.definition]}, ""
        while True:
            page = await self._executions.page(
                run.job_id, "r:", "r;", select=["v"], where=where, limit=2, token=token
            )
            if any(row.key != run.key.run_row for row in page.rows):
                return False
            if page.following is None:
                return True
            token = page.following

    async def _require_free(self, run: Run) -> None:
        if not run.state.finished:
            raise Conflict(
                f"the execution is {run.state}: cancel it first, or wait for its end",
                code="execution_unfinished",
            )
        if await self._is_planned(run):
            raise Conflict(
                "the record of a scheduled run keeps it from being started again: erase it an hour"
                " after its scheduled_time, once the tick has passed that",
                code="execution_in_use",
            )
        for retry in await self._store.retries(run.key, direct=False):
            stored = await self._store.run(retry)
            if stored is not None and not stored.value.state.finished:
                raise Conflict(
                    f"{retry} is a retry of the execution and has not ended: cancel it first, or"
                    " wait for its end",
                    code="execution_in_use",
                )

    async def _is_planned(self, run: Run) -> bool:
        if run.trigger is not Trigger.SCHEDULE:
            return False
        if run.scheduled_time > self._clock.now() - _SETTLED_AFTER:
            return True
        planned = await self._catalog.next_run(run.job_id)
        return planned is not None and planned.nominal <= run.scheduled_time


async def _drop(table: Table, partition: str, key: str) -> None:
    try:
        await table.commit(partition, [Delete(key, None)])
    except ConflictingWrite:
        return  # an earlier call, or another one, has removed it
