"""Executions that must not start yet: held by the control word, or behind another run of their job.

They have no slot. What happened meanwhile is looked at when their turn comes.
"""

from dataclasses import replace
from datetime import datetime

from scheduler.clock import Clock
from scheduler.dispatch.ids import Trigger
from scheduler.dispatch.run_index import Place, RunEntry, RunIndex
from scheduler.errors import ConflictingWrite
from scheduler.execution.admission import Admission
from scheduler.execution.missed import reason_given_up
from scheduler.execution.model import Run
from scheduler.execution.overlap import overlap_of, skipped
from scheduler.execution.settle import Settlement
from scheduler.execution.slots import Moved
from scheduler.execution.store import ExecutionStore, Stored, leave_current
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job
from scheduler.telemetry import get_logger

log = get_logger(__name__)


class Standby:
    """Puts executions down, and decides about them when their turn comes.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(
        self,
        *,
        catalog: Catalog,
        definitions: Definitions,
        store: ExecutionStore,
        runs: RunIndex,
        admission: Admission,
        settlement: Settlement,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._store = store
        self._runs = runs
        self._admission = admission
        self._settlement = settlement
        self._clock = clock

    async def hold(self, queue: str, run: Run, entry: RunEntry) -> None:
        """Keeps an execution from starting until the control word lets it; one is parked already
        stays so."""
        log.info("a start is held", extra={"action": "start_held"})
        if entry.place not in (Place.WAITING, Place.HELD):
            await self._put_down(queue, run, entry, Place.HELD)

    async def stand_in_line(self, queue: str, run: Run, entry: RunEntry) -> None:
        """Lets a run wait for its job's active one."""
        await self._put_down(queue, run, entry, Place.QUEUED)
        # The active run may have ended before this one stood in line: then nobody else looks.
        await self._settlement.start_queued(run.job_id)

    async def _put_down(self, queue: str, run: Run, entry: RunEntry, place: Place) -> None:
        """Notes where a run waits without a slot; should it have got one, gives that back."""
        held = None
        if entry.slot is not None:
            held = await self._admission.held(queue, run.execution_id, entry.slot)
        if held is None:
            await self._runs.place(queue, entry, place, self._clock.now())
        else:
            await self._admission.rest(queue, run.execution_id, held, place)
            await self._settlement.hand_over(run.timezone)

    async def take_turn(self, stored: Stored[Run], entry: RunEntry) -> Stored[Run]:
        """The execution as it starts now: skipped, or with the time added that it was held.

        Raises:
            Moved: it has changed meanwhile.
        """
        run, now = stored.value, self._clock.now()
        if entry.place not in (Place.HELD, Place.QUEUED):
            return stored
        job = await self._definitions.load(run.job_id, run.definition)
        reason = await self._reason_to_skip(run, job, entry, now)
        changes = [leave_current()] if reason and run.holds_current else []
        if reason is not None:
            changed = skipped(run, reason, now)
        elif entry.place is Place.HELD:
            overlap = overlap_of(job, run.trigger, run.scheduled_time, now)
            deadline = run.deadline + (now - entry.since)
            changed = replace(run, deadline=deadline, overlap=overlap)
        else:
            return stored
        try:
            return await self._store.save(changed, stored.etag, changes)
        except ConflictingWrite:
            raise Moved from None

    async def _reason_to_skip(
        self, run: Run, job: Job, entry: RunEntry, now: datetime
    ) -> str | None:
        was_held = entry.place is Place.HELD
        its_turn = was_held or run.holds_current
        if run.trigger is not Trigger.SCHEDULE or not its_turn:
            return None
        row = await self._catalog.find(run.job_id)
        if row is not None and not row.enabled:
            return "the job was paused before the run could start"
        if not was_held or job.schedule is None:
            return None
        if row is None:
            return "the job was deleted before the run could start"
        due = entry.announcement.due
        return reason_given_up(job.schedule, run.timezone, run.scheduled_time, due, now)
