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
from scheduler.execution.rules.states import RunState
from scheduler.execution.settle import Settlement
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.model import ScheduleType
from scheduler.storage.blobs import Container
from scheduler.storage.keys import inverted, span
from scheduler.storage.tables import Row, Table
from scheduler.storage.values import optional_instant
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_SETTLED_AFTER = timedelta(hours=1)
"""After its instant no tick that is late announces a scheduled run any more."""
_MADE_UP_WITHIN = timedelta(days=8)
"""After its instant no change of its job makes up for a single run: a window is a week at most."""
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Erased:
    """How many old executions of a job were erased, which were left, and whether that is all.

    `failed`: our own code cannot erase them.
    """

    count: int = 0
    left: frozenset[ExecutionId] = frozenset()
    complete: bool = False
    failed: bool = False

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
        for reason in (await self._in_use([run], None)).values():
            raise Conflict(reason, code="execution_in_use")
        await self._settlement.settle_again(run)  # what is owed must not be lost with it
        await self._days.take_out(run)
        if run.inline:
            await self._unused.delete_of(run)
        await self._remove([run])
        await self.forget(run.job_id)

    async def erase_ended(self, job_id: str, before: datetime, until: datetime) -> Erased:
        """Erases all executions of a job that ended before an instant, as far as the time goes.

        Those that are in use are left, those whose end is not told yet, and those for an instant
        that is not before. Of what is erased the entries in the lists of the last day before the
        instant stay: by them it is found.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        erased, token = Erased(), ""
        while self._clock.now() < until:
            page = await self._executions.page(
                job_id, f"r:{inverted(before)}:", "r;", limit=_AT_ONCE, token=token
            )
            gone = await self.erase_old(_readable(page.rows), before)
            names = {row.key.rpartition(":")[2] for row in page.rows}
            erased = erased.with_some(gone, names)
            if page.following is None:
                await self.forget(job_id)
                return replace(erased, complete=True)
            token = page.following
        return erased

    async def erase_old(self, runs: Sequence[Run], before: datetime) -> list[Run]:
        """Erases those of some executions of a job that ended before an instant, but for their
        entries in the lists of the day before it; returns them. Left are those in use.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        ended = [run for run in runs if run.state.finished and end_of(run) < before]
        if not ended:
            return []
        left = await self._unsettled(ended) | (await self._in_use(ended, before)).keys()
        gone = [run for run in ended if run.execution_id not in left]
        last_day = (before - timedelta(microseconds=1)).date()
        for run in gone:
            if end_of(run).date() != last_day:
                await self._days.take_out(run)
        if gone:
            await self._remove(gone)
        return gone

    async def forget(self, job_id: str) -> None:
        """Removes what is left of a job that is gone with all its executions.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if await self._catalog.find(job_id) is not None:
            return
        page = await self._executions.page(job_id, "r:", "r;", limit=1, select=["v"])
        if not page.rows and page.following is None:
            await self._totals.remove(job_id)
            await self._unused.delete_all(job_id)

    async def _remove(self, runs: Sequence[Run]) -> None:
        """Removes some runs of a job; the run rows go last."""
        job_id, names = runs[0].job_id, {run.execution_id for run in runs}
        await delete_outputs(self._outputs, runs)
        for run in runs:
            entries = [f"{key_of(one).retry_rows}{run.execution_id}" for one in run.retried]
            await self._executions.remove(job_id, entries)
        for prefixes in (
            [run.key.retry_rows for run in runs],
            [run.key.step_rows for run in runs],
        ):
            rows = self._executions.query(job_id, *span(prefixes), select=["v"])
            keys = [row.key async for row in rows if _owner(row.key) in names]
            await self._executions.remove(job_id, keys)
        await self._executions.remove(job_id, [run.key.run_row for run in runs])

    async def _unsettled(self, runs: Sequence[Run]) -> set[ExecutionId]:
        """Those that have a `run:` row: without their own upkeep would start them again."""
        job_id, found = runs[0].job_id, set[ExecutionId]()
        for timezone in {run.timezone for run in runs}:
            found |= set(await self._runs.of_job(self._dispatcher.queue_of(timezone), job_id))
        return found

    async def _in_use(
        self, runs: Sequence[Run], before: datetime | None
    ) -> Mapping[ExecutionId, str]:
        """Why some runs of a job may not be erased: a retry that has not ended, or not before."""
        reasons: dict[ExecutionId, str] = {}
        for run in await self._planned([run for run in runs if run.trigger is Trigger.SCHEDULE]):
            reasons[run.execution_id] = (
                "the record of a scheduled run keeps it from being started again: erase it an hour"
                " after its scheduled_time (of a job that runs once eight days), once the tick has"
                " passed that"
            )
        retried = await self._store.retries_of([run.key for run in runs])
        for source, retries in retried.items():
            for row in retries:
                if not _has_ended(row, before):
                    reasons[source] = (
                        f"{row.values['execution_id']} is a retry of the execution and has not"
                        " ended: cancel it first, or wait for its end"
                    )
        return reasons

    async def _planned(self, scheduled: Sequence[Run]) -> list[Run]:
        """Those that their schedule might start again."""
        if not scheduled:
            return []
        job_id = scheduled[0].job_id
        job, planned = await self._catalog.find(job_id), await self._catalog.next_run(job_id)
        once = job is not None and job.schedule_type == ScheduleType.ONCE
        settled = self._clock.now() - (_MADE_UP_WITHIN if once else _SETTLED_AFTER)
        return [
            run
            for run in scheduled
            if run.scheduled_time > settled
            or (planned is not None and planned.nominal <= run.scheduled_time)
        ]


def _has_ended(row: Row, before: datetime | None) -> bool:
    """Whether a retry has ended, be it before an instant; one that cannot be read has not."""
    try:
        state, end = RunState(str(row.values["state"])), optional_instant(row.values["end_time"])
    except (KeyError, TypeError, ValueError):
        return False
    return state.finished and (before is None or end is None or end < before)


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
