"""Runs that a job's schedule is still to start: they can be read and cancelled already."""

from datetime import timedelta

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import ExecutionKey, Trigger
from scheduler.dispatch.run_index import RunIndex
from scheduler.execution.rules.model import Run
from scheduler.execution.starting.arrivals import new_run
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job
from scheduler.schedule.transitions import FIRST_YEAR, LAST_YEAR
from scheduler.schedule.triggers import next_instant


class ComingRuns:
    """Finds the coming runs of stored jobs by their ids."""

    def __init__(
        self,
        catalog: Catalog,
        definitions: Definitions,
        dispatcher: Dispatcher,
        runs: RunIndex,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._dispatcher = dispatcher
        self._runs = runs
        self._clock = clock

    async def find(self, key: ExecutionKey) -> tuple[Run, Job] | None:
        """The execution that a coming run will be, as it would begin now, and its job; or None.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if not FIRST_YEAR < key.time.year < LAST_YEAR:
            return None
        row = await self._catalog.find(key.job_id)
        if row is None:
            return None
        job = await self._definitions.load(row.job_id, row.definition)
        if not await self._is_coming(key, job):
            return None
        run = new_run(
            key.execution_id,
            job,
            row.definition,
            trigger=Trigger.SCHEDULE,
            scheduled=key.time,
            now=self._clock.now(),
        )
        return run, job

    async def _is_coming(self, key: ExecutionKey, job: Job) -> bool:
        """Whether a job's schedule is still to start this run, or has announced it already."""
        if job.schedule is None or key.is_manual or key.backfill_number:
            return False
        # In this order, in which a run goes: from the due row to the `run:` row.
        planned = await self._catalog.next_run(key.job_id)
        if planned is not None and key.time >= planned.nominal:
            before = key.time - timedelta(seconds=1)
            return next_instant(job.schedule, job.timezone, before) == key.time
        queue = self._dispatcher.queue_of(job.timezone)
        return await self._runs.get(queue, key.execution_id) is not None
