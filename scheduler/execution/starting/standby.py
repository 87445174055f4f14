"""Executions that must not start yet: held by the control word, or behind another run of their job.

They have no slot. What happened meanwhile is looked at when their turn comes.
"""

from dataclasses import replace

from scheduler.clock import Clock
from scheduler.dispatch.ids import Trigger
from scheduler.dispatch.run_index import Place, RunEntry, RunIndex
from scheduler.errors import ConflictingWrite
from scheduler.execution.admission.holdings import Holdings
from scheduler.execution.admission.slots import Moved
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.states import RunState
from scheduler.execution.settle import Settlement
from scheduler.execution.starting.arrivals import announced_run
from scheduler.execution.starting.missed import reason_given_up, reason_superseded
from scheduler.execution.starting.overlap import skipped
from scheduler.execution.store import ExecutionStore, Stored, leave_current
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_PAUSED = "the job was paused before the run could start"


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
        holdings: Holdings,
        settlement: Settlement,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._store = store
        self._runs = runs
        self._holdings = holdings
        self._settlement = settlement
        self._clock = clock

    async def hold(self, queue: str, stored: Stored[Run], entry: RunEntry) -> None:
        """Keeps an execution from starting until the control word lets it; one is parked already
        stays so.

        Raises:
            Moved: it has changed meanwhile: look again.
        """
        log.info("a start is held", extra={"action": "start_held"})
        if entry.place not in (Place.WAITING, Place.HELD):
            if not await self._step_back(stored):
                raise Moved
            await self._put_down(queue, stored.value, entry, Place.HELD)

    async def stand_in_line(self, queue: str, run: Run, entry: RunEntry) -> None:
        """Lets a run wait for its job's active one."""
        await self._put_down(queue, run, entry, Place.QUEUED)
        # The active run may have ended before this one stood in line: then nobody else looks.
        await self._settlement.start_queued(run.job_id)

    async def _put_down(self, queue: str, run: Run, entry: RunEntry, place: Place) -> None:
        """Notes where a run waits without a slot; should it have got one, gives that back."""
        held = None
        if entry.slot is not None:
            held = await self._holdings.held(queue, run.execution_id, entry.slot)
        if held is None:
            await self._runs.place(queue, entry, place, self._clock.now())
        else:
            await self._holdings.rest(queue, run.execution_id, held, place)
            await self._settlement.hand_over(run.timezone)

    async def hold_parked(self, queue: str, stored: Stored[Run], entry: RunEntry) -> None:
        """Holds a run that is parked and has not started: one rule is to decide about all."""
        if stored.value.state is RunState.PENDING and await self._step_back(stored):
            await self._holdings.unpark(queue, entry, Place.HELD)

    async def _step_back(self, stored: Stored[Run]) -> bool:
        """Takes a run that may not start from the front of its job; False when it has changed."""
        if not stored.value.holds_current:
            return True
        try:
            outside = replace(stored.value, holds_current=False)
            await self._store.save(outside, stored.etag, [leave_current()])
        except ConflictingWrite:
            return False
        return True

    async def take_turn(self, stored: Stored[Run], entry: RunEntry) -> Stored[Run]:
        """The execution as it starts now that it may: skipped, or by its job as that is now.

        Raises:
            Moved: it has changed meanwhile.
        """
        if entry.place is Place.HELD:
            changed = await self._let_go(stored.value, entry)
        elif entry.place is Place.QUEUED and stored.value.holds_current:
            changed = await self._come_forward(stored.value)
        else:
            return stored
        given_back = stored.value.holds_current and not changed.holds_current
        try:
            return await self._store.save(
                changed, stored.etag, [leave_current()] if given_back else []
            )
        except ConflictingWrite:
            raise Moved from None

    async def _let_go(self, run: Run, entry: RunEntry) -> Run:
        now = self._clock.now()
        if run.trigger is not Trigger.SCHEDULE:
            return run.timed_anew(now)
        row = await self._catalog.find(run.job_id)
        if row is None or run.created_at < row.created_at:
            return skipped(run, "the job was deleted before the run could start", now)
        if not row.enabled:
            return skipped(run, _PAUSED, now)
        job = await self._definitions.load(row.job_id, row.definition)
        announced = entry.announcement
        reason = reason_given_up(job, run.scheduled_time, announced.due, now)
        reason = reason or reason_superseded(job, run.scheduled_time, row.changed_at, now)
        if reason is not None:
            return skipped(run, reason, now)
        fresh = announced_run(announced, job, row.definition, now)
        return replace(fresh, holds_current=run.holds_current)

    async def _come_forward(self, run: Run) -> Run:
        """A queued run whose turn has come."""
        row = await self._catalog.find(run.job_id) if run.trigger is Trigger.SCHEDULE else None
        if row is not None and not row.enabled:
            return skipped(run, _PAUSED, self._clock.now())
        return run
