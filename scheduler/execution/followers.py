"""What comes after a record: the next steps' messages, a retry's, or the settlement."""

from dataclasses import replace

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher, Outgoing
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.errors import ConflictingWrite
from scheduler.execution.admission.holdings import Holdings
from scheduler.execution.admission.slots import Granted
from scheduler.execution.claim import Recorded
from scheduler.execution.rules.graph import Graph
from scheduler.execution.rules.model import Run, StepState
from scheduler.execution.rules.states import StepStatus
from scheduler.execution.settle import Settlement
from scheduler.execution.snapshot import snapshot_of
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.model import Job
from scheduler.settings import Settings


class Followers:
    """Sends what a record made ready; all of it may be sent again without harm."""

    def __init__(
        self,
        *,
        store: ExecutionStore,
        holdings: Holdings,
        dispatcher: Dispatcher,
        settlement: Settlement,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._holdings = holdings
        self._dispatcher = dispatcher
        self._settlement = settlement
        self._keeps_slot_seconds = settings.sleep_keeps_slot_seconds
        self._clock = clock

    async def follow(self, recorded: Recorded) -> None:
        """Sends the messages of a fresh record, or settles the execution.

        Raises:
            StorageUnavailable: storage cannot be reached; upkeep sends again.
        """
        run = recorded.run
        if run.state.finished:
            await self._settlement.settle(run)
            return
        places = (*recorded.ready, *recorded.retry)
        if len(places) == len(recorded.ready) == 1 and not run.runs_a_step:
            message = step_message(run, run.steps[places[0]])
            whole = replace(message, run=snapshot_of(run), etag=recorded.etag)
            await self._dispatcher.send(run.timezone, whole)
        else:
            # Each of several claims changes the run row: its text would be old for all but one.
            await self.send_steps(run, places)
        if run.sleeps:
            await self.rest(run)

    async def send_steps(self, run: Run, places: tuple[int, ...]) -> None:
        """Sends the messages of these steps: at once, or for the instant of their retry.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        now: list[Outgoing] = []
        for step in (run.steps[place] for place in places):
            if step.wake_at is None:
                now.append(Outgoing(step_message(run, step)))
            else:
                await self._dispatcher.send_later(
                    run.timezone, step_message(run, step), step.wake_at
                )
        if now:
            await self._dispatcher.send_all(run.timezone, now)

    async def send_again(self, run: Run, job: Job) -> bool:
        """Sends what was marked as sent, or sleeps: its message may be lost; tells if there is any.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        graph = Graph(job)
        places = tuple(
            place
            for place, step in enumerate(run.steps)
            if step.status.sleeps
            or (
                step.status is StepStatus.PENDING
                and step.sent
                and graph.startable(place, run.steps, out_of_time=run.out_of_time)
            )
        )
        await self.send_steps(run, places)
        return bool(places)

    async def rest(self, run: Run) -> None:
        """Gives the slot of an execution back that sleeps for long.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        wakes = [step.wake_at for step in run.steps if step.wake_at is not None]
        sleeps = (min(wakes) - self._clock.now()).total_seconds() if wakes else 0
        if sleeps <= self._keeps_slot_seconds or run.slot is None or run.slot_etag is None:
            return
        stored = await self._store.run(run.execution_id)
        if stored is None or stored.value.steps != run.steps:
            return
        try:
            await self._store.save(stored.value.in_slot(None, None), stored.etag)
        except ConflictingWrite:
            return
        queue = self._dispatcher.queue_of(run.timezone)
        await self._holdings.rest(queue, run.execution_id, Granted(run.slot, run.slot_etag))
        await self._settlement.hand_over(run.timezone)


def running_message(run: Run, step: StepState) -> Message:
    """The message that looks after an attempt that runs: its worker may have died."""
    return Message(
        kind=MessageKind.STEP, execution_id=run.execution_id, step=step.id, attempt=step.attempt
    )


def step_message(run: Run, step: StepState) -> Message:
    """The message that starts a step's next attempt, or the next look of one that waits."""
    waits = step.status is StepStatus.WAITING
    return Message(
        kind=MessageKind.STEP,
        execution_id=run.execution_id,
        step=step.id,
        attempt=step.attempt if waits else step.attempt + 1,
        look=step.looks + 1 if waits else None,
    )
