"""What is owed once an execution has ended. Each duty can be repeated; the `run:` row goes last."""

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.run_index import RunIndex
from scheduler.errors import ConflictingWrite
from scheduler.execution.admission.admission import Admission
from scheduler.execution.admission.holdings import Holdings
from scheduler.execution.admission.slots import Granted
from scheduler.execution.history.days import DayLists
from scheduler.execution.rules.model import Run
from scheduler.execution.starting.overlap import MAX_QUEUED, OverlapRule, queue_key
from scheduler.execution.store import ExecutionStore, Stored
from scheduler.jobs.model import Overlap
from scheduler.storage.tables import Change, Delete
from scheduler.telemetry import get_logger

log = get_logger(__name__)


class Settlement:
    """Settles finished executions."""

    def __init__(
        self,
        store: ExecutionStore,
        overlap: OverlapRule,
        admission: Admission,
        holdings: Holdings,
        runs: RunIndex,
        days: DayLists,
        dispatcher: Dispatcher,
        clock: Clock,
    ) -> None:
        self._store = store
        self._overlap = overlap
        self._admission = admission
        self._holdings = holdings
        self._runs = runs
        self._days = days
        self._dispatcher = dispatcher
        self._clock = clock

    async def settle(self, run: Run) -> None:
        """Does all that is owed for an execution that has just ended.

        Raises:
            StorageUnavailable: storage cannot be reached; whoever sees the execution next repeats.
        """
        await self._tell(run)
        queue = self._dispatcher.queue_of(run.timezone)
        await self._holdings.leave(queue, run.execution_id, _granted(run))
        await self.hand_over(run.timezone)

    async def settle_again(self, run: Run) -> None:
        """Repeats what a crash may have left undone; nothing, when its `run:` row is gone.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        queue = self._dispatcher.queue_of(run.timezone)
        if await self._runs.get(queue, run.execution_id) is None:
            return
        await self._tell(run)
        await self._holdings.leave_all(queue, run.execution_id, _granted(run))
        await self.hand_over(run.timezone)

    async def _tell(self, run: Run) -> None:
        await self._days.enter(run)
        if run.overlap is Overlap.QUEUE and run.start_time is None:
            await self._store.drop_queued(run.job_id, queue_key(run))
        if run.overlap is Overlap.QUEUE or run.followed:
            await self.start_queued(run.job_id)
        log.info(
            "execution ended: %s",
            run.state,
            extra={
                "action": "execution_ended",
                "execution_id": run.execution_id,
                "job_id": run.job_id,
                "status": run.state,
                "timezone": run.timezone,
            },
        )

    async def start_queued(self, job_id: str) -> None:
        """Makes the run that has queued longest its job's active one, and sends its start.

        While another is active, that one is told that it is waited for: it looks here at its end.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        for key, execution_id in await self._store.queued(job_id, limit=MAX_QUEUED):
            stored = await self._store.run(execution_id)
            gone = stored is None or stored.value.state.finished
            if stored is None or gone or stored.value.holds_current:
                await self._store.drop_queued(job_id, key)
                continue
            run = stored.value
            way_in = await self._overlap.way_in(run)
            if way_in is None:
                if await self._overlap.tell_active(job_id):
                    return
                way_in = await self._overlap.way_in(run)  # it has ended meanwhile
            if way_in is not None:
                await self._start_queued(stored, key, way_in)
            return

    async def _start_queued(self, stored: Stored[Run], key: str, way_in: Change) -> None:
        # It was not its fault that it had to wait.
        active = stored.value.now_current().timed_anew(self._clock.now())
        try:
            await self._store.save(active, stored.etag, [way_in, Delete(key, None)])
        except ConflictingWrite:
            return
        await self._send_start(active.timezone, active.execution_id)

    async def hand_over(self, timezone: str) -> None:
        """Gives free slots of a zone to those that wait, and sends their starts.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        async for handed in self._admission.hand_over(self._dispatcher.queue_of(timezone)):
            await self._send_start(timezone, handed.execution_id)

    async def _send_start(self, timezone: str, execution_id: ExecutionId) -> None:
        message = Message(kind=MessageKind.START, execution_id=execution_id)
        await self._dispatcher.send(timezone, message)


def _granted(run: Run) -> Granted | None:
    return Granted(run.slot, run.slot_etag) if run.slot and run.slot_etag else None
