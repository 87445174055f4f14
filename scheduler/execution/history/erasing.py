"""Erases executions that have ended: rows, list entries, outputs, and definitions of their own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import ExecutionId, Trigger, key_of
from scheduler.dispatch.run_index import RunIndex
from scheduler.errors import Conflict
from scheduler.execution.attempts.outputs import delete_outputs
from scheduler.execution.history.days import DayLists, end_of
from scheduler.execution.history.totals import TotalsTable
from scheduler.execution.history.unused_definitions import UnusedDefinitions
from scheduler.execution.records import run_of
from scheduler.execution.rules.model import Run
from scheduler.execution.settle import Settlement
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.catalog import Catalog
from scheduler.storage.blobs import Container
from scheduler.storage.keys import inverted
from scheduler.storage.tables import Row, Table
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_SETTLED_AFTER = timedelta(hours=1)
"""After its instant no tick that is late announces a scheduled run any more."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Erased:
    """How many old executions of a job were erased, which were left, and whether that is all."""

    count: int = 0
    left: frozenset[ExecutionId] = frozenset()
    complete: bool = False

    def with_some(self, gone: Sequence[Run], seen: Iterable[str]) -> "Erased":
        """This and some more that were seen, of which these are gone."""
        left = {ExecutionId(one) for one in seen} - {run.execution_id for run in gone}
        return replace(self, count=self.count + len(gone), left=self.left | left)


class Eraser:
    """Erases executions, one or all old ones of a job; a call that breaks off may be repeated."""

    def __init__(
        self,
        *,
        store: ExecutionStore,
        executions: Table,
        days: DayLists,
        outputs: Container,
        unused: UnusedDefinitions,
        totals: TotalsTable,
        settlement: Settlement,
        runs: RunIndex,
        dispatcher: Dispatcher,
        catalog: Catalog,
        clock: Clock,
    ) -> None:
        self._store = store
        self._executions = executions
        self._days = days
        self._outputs = outputs
        self._unused = unused
        self._totals = totals
        self._settlement = settlement
        self._runs = runs
        self._dispatcher = dispatcher
        self._catalog = catalog
        self._clock = clock

    async def erase(self, run: Run) -> None:
        """Erases an execution.

        Raises:
            Conflict: `execution_unfinished`; `execution_in_use`: a retry that has not ended takes
                values over from it, or without its record its schedule would run it again.
            StorageUnavailable: storage cannot be reached.
        """
        if not run.state.finished:
            raise Conflict(
                f"the execution is {run.state}: cancel it first, or wait for its end",
                code="execution_unfinished",
            )
        for reason in (await self._in_use([run])).values():
            raise Conflict(reason, code="execution_in_use")
        await self._settlement.settle_again(run)  # what is owed must not be lost with it
        await self._days.take_out(run)
        if run.inline and await self._catalog.find(run.job_id) is None:
            await self._unused.delete(run.job_id, run.definition, besides=run)
        await self._remove([run])
        await self._forget(run.job_id)

    async def erase_ended(self, job_id: str, before: datetime, until: datetime) -> Erased:
        """Erases all executions of a job that ended before an instant, as far as the time goes.

        Left are those that are in use, and those whose end is not told yet. Of what is erased the
        entries in the lists of the last day before the instant stay: by them it is found.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        erased, token = Erased(), ""
        while self._clock.now() < until:
            page = await self._executions.page(
                job_id, f"r:{inverted(before)}:", "r;", limit=_AT_ONCE, token=token
            )
            gone = await self._erase_old(_readable(page.rows), before)
            names = {row.key.rpartition(":")[2] for row in page.rows}
            erased = erased.with_some(gone, names)
            if page.following is None:
                await self._forget(job_id)
                return replace(erased, complete=True)
            token = page.following
        return erased

    async def _erase_old(self, runs: Sequence[Run], before: datetime) -> list[Run]:
        ended = [run for run in runs if run.state.finished and end_of(run) < before]
        if not ended:
            return []
        left = await self._unsettled(ended) | (await self._in_use(ended)).keys()
        gone = [run for run in ended if run.execution_id not in left]
        last_day = (before - timedelta(microseconds=1)).date()
        for run in gone:
            if end_of(run).date() != last_day:
                await self._days.take_out(run)
        if gone:
            await self._remove(gone)
        return gone

    async def _remove(self, runs: Sequence[Run]) -> None:
        """Removes some runs of a job, in the order of their rows; the run rows go last."""
        job_id, names = runs[0].job_id, {run.execution_id for run in runs}
        await delete_outputs(self._outputs, runs)
        for run in runs:
            entries = [f"{key_of(one).retry_rows}{run.execution_id}" for one in run.retried]
            await self._executions.remove(job_id, entries)
        first, last = runs[0].key, runs[-1].key
        for start, end in (
            (first.retry_rows, last.retry_rows),
            (first.step_rows, last.step_rows),
        ):
            rows = self._executions.query(job_id, start, f"{end[:-1]};", select=["v"])
            keys = [row.key async for row in rows if _owner(row.key) in names]
            await self._executions.remove(job_id, keys)
        await self._executions.remove(job_id, [run.key.run_row for run in runs])

    async def _forget(self, job_id: str) -> None:
        """Removes the totals of a job that is gone with all its executions."""
        if await self._catalog.find(job_id) is not None:
            return
        page = await self._executions.page(job_id, "r:", "r;", limit=1, select=["v"])
        if not page.rows and page.following is None:
            await self._totals.remove(job_id)

    async def _unsettled(self, runs: Sequence[Run]) -> set[ExecutionId]:
        """Those that have a `run:` row: without their own upkeep would start them again."""
        job_id, found = runs[0].job_id, set[ExecutionId]()
        for timezone in {run.timezone for run in runs}:
            found |= set(await self._runs.of_job(self._dispatcher.queue_of(timezone), job_id))
        return found

    async def _in_use(self, runs: Sequence[Run]) -> Mapping[ExecutionId, str]:
        """Why some of these runs of a job, in the order of their rows, may not be erased."""
        reasons: dict[ExecutionId, str] = {}
        scheduled = [run for run in runs if run.trigger is Trigger.SCHEDULE]
        planned = await self._catalog.next_run(runs[0].job_id) if scheduled else None
        for run in scheduled:
            late = run.scheduled_time > self._clock.now() - _SETTLED_AFTER
            if late or (planned is not None and planned.nominal <= run.scheduled_time):
                reasons[run.execution_id] = (
                    "the record of a scheduled run keeps it from being started again: erase it an"
                    " hour after its scheduled_time, once the tick has passed that"
                )
        for source, retry in await self._store.unfinished_retries(runs[0].key, runs[-1].key):
            reasons[source] = (
                f"{retry} is a retry of the execution and has not ended: cancel it first, or wait"
                " for its end"
            )
        return reasons


def _readable(rows: Sequence[Row]) -> list[Run]:
    runs = []
    for row in rows:
        try:
            runs.append(run_of(row))
        except (KeyError, TypeError, ValueError):
            log.warning("a row cannot be erased: %s", row.key, extra={"action": "row_unreadable"})
    return runs


def _owner(key: str) -> ExecutionId:
    """The execution that a row with this key belongs to."""
    return ExecutionId(key.split(":")[2])
