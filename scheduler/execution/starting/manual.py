"""Runs that somebody asks for: their execution is there before their start is sent."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.control import Control
from scheduler.dispatch.dispatcher import Dispatcher, Outgoing
from scheduler.dispatch.ids import ExecutionId, Trigger
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.run_index import RunIndex
from scheduler.errors import Conflict, ConflictingWrite, StorageUnavailable
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.rerun import Rerun
from scheduler.execution.starting.arrivals import announcement_of, new_run
from scheduler.execution.starting.overlap import OverlapRule
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.model import Job

_LONGEST = timedelta(minutes=5)
"""What takes longer is not made any more: upkeep may hold its announcement for void, in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """A run that is asked for: its id, the instant that it is for, and what it takes over."""

    execution_id: ExecutionId
    scheduled: datetime
    rerun: Rerun | None = None


class ManualStarts:
    """Makes executions on request, and sends their starts."""

    def __init__(
        self,
        *,
        runs: RunIndex,
        store: ExecutionStore,
        overlap: OverlapRule,
        dispatcher: Dispatcher,
        control: Control,
        clock: Clock,
    ) -> None:
        self._runs = runs
        self._store = store
        self._overlap = overlap
        self._dispatcher = dispatcher
        self._control = control
        self._clock = clock

    async def require_open(self) -> None:
        """Makes sure that runs may be asked for.

        Raises:
            Conflict: `scheduler_stopped`.
            StorageUnavailable: storage cannot be reached.
        """
        word = await self._control.read()
        if not word.state.admits(Trigger.MANUAL):
            note = f" ({word.note})" if word.note else ""
            raise Conflict(
                f"the scheduler is {word.state}{note}: nothing starts until an administrator sets"
                " it to running with POST /api/v2/control",
                code="scheduler_stopped",
            )

    async def start(
        self,
        requests: list[RunRequest],
        job: Job,
        definition: str,
        *,
        trigger: Trigger,
        requested_by: str,
        inline: bool = False,
    ) -> list[Run]:
        """Makes up to 100 runs of a job, each active, queued or skipped, and sends their starts.

        They get their turn in the order given.

        Raises:
            Conflict: `scheduler_stopped`.
            StorageUnavailable: storage cannot be reached; upkeep starts those that were made.
        """
        queue = await self._dispatcher.open_zone(job.timezone)
        # In this order: whoever stops the scheduler from now on marks this zone too.
        await self.require_open()
        now = self._clock.now()
        runs = [
            _again(
                new_run(
                    request.execution_id,
                    job,
                    definition,
                    trigger=trigger,
                    scheduled=request.scheduled,
                    now=now,
                    requested_by=requested_by,
                    inline=inline,
                ),
                request.rerun,
            )
            for request in requests
        ]
        await self._runs.announce(queue, [announcement_of(run) for run in runs], now)
        entered = [await self._enter(run, now) for run in runs]
        starts = [Message(kind=MessageKind.START, execution_id=run.execution_id) for run in runs]
        await self._dispatcher.send_to(queue, [Outgoing(start) for start in starts])
        return entered

    async def _enter(self, run: Run, now: datetime) -> Run:
        if self._clock.now() - now > _LONGEST:
            raise StorageUnavailable(f"{run.execution_id} took too long to make: ask again")
        try:
            return (await self._overlap.enter(run, None, now)).value
        except ConflictingWrite as error:
            stored = await self._store.run(run.execution_id)
            if error.index != 0 or stored is None:
                raise Conflict(
                    "many runs of the job are being started at once: try again", code="busy"
                ) from None
            return stored.value


def _again(run: Run, rerun: Rerun | None) -> Run:
    return replace(run, steps=rerun.steps, retried=rerun.retried) if rerun is not None else run
