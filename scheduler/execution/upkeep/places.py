"""Slots and waiters that have lost their run, or their run them: what upkeep mends of a zone."""

from scheduler.clock import Clock
from scheduler.dispatch.ids import ExecutionId, parse_execution_id
from scheduler.dispatch.run_index import RunEntry, RunIndex
from scheduler.execution.admission.admission import Admission
from scheduler.execution.admission.holdings import Holdings
from scheduler.execution.admission.slots import WAIT_PREFIX, slot_holder
from scheduler.execution.rules.model import Run
from scheduler.execution.starting.arrivals import announcement_of
from scheduler.execution.store import ExecutionStore
from scheduler.execution.upkeep.failures import PASSING
from scheduler.storage.keys import from_sortable
from scheduler.storage.tables import Row
from scheduler.telemetry import get_logger

log = get_logger(__name__)


class Places:
    """Mends slots and waiters.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(
        self,
        store: ExecutionStore,
        runs: RunIndex,
        admission: Admission,
        holdings: Holdings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._runs = runs
        self._admission = admission
        self._holdings = holdings
        self._clock = clock

    async def ownerless(self, queue: str, slot: Row) -> None:
        """Looks after a slot whose run has no `run:` row, so that the zone cannot silt up."""
        execution_id = slot_holder(slot)
        if await self._runs.has(queue, execution_id):
            return
        log.error("a slot without a run", extra={"action": "slot_ownerless"})
        run = await self._run(execution_id)
        if run is None or run.state.finished:
            await self._holdings.leave_slots(queue, execution_id)
        else:
            await self._runs.restore(queue, announcement_of(run), slot.key, self._clock.now())

    async def _run(self, execution_id: ExecutionId) -> Run | None:
        """The run of a slot; None when it is not known, or cannot be read."""
        if parse_execution_id(execution_id) is None:
            return None
        try:
            stored = await self._store.run(execution_id)
        except PASSING:
            raise
        except Exception:
            log.exception("a run that cannot be read", extra={"action": "run_unreadable"})
            return None
        return stored.value if stored is not None else None

    async def park_again(self, queue: str, entry: RunEntry) -> None:
        """Makes the waiter's row of a parked run anew, at the place in line that it had."""
        log.error(
            "a parked run without a place in line",
            extra={"action": "waiter_lost", "execution_id": entry.announcement.execution_id},
        )
        time = (entry.wait or "").removeprefix(WAIT_PREFIX).partition("Z:")[0] + "Z"
        try:
            first = from_sortable(time)
        except ValueError:
            first = entry.since
        await self._admission.park_again(queue, entry, first)
