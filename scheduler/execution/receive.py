"""Step messages: first delivery, duplicate, redelivery, takeover, or stale."""

from datetime import timedelta

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.messages import Message
from scheduler.dispatch.run_index import RunIndex
from scheduler.execution.claim import Claim
from scheduler.execution.claims import Claims
from scheduler.execution.followers import Followers, running_message, step_message
from scheduler.execution.prepared import Prepared
from scheduler.execution.rules.advance import goes_on
from scheduler.execution.rules.graph import Graph
from scheduler.execution.rules.model import Run, StepRecord
from scheduler.execution.rules.outcome import DIED_CANCELLED, Outcome
from scheduler.execution.rules.retry import MAX_INTERRUPTIONS
from scheduler.execution.rules.states import StepStatus
from scheduler.execution.settle import Settlement
from scheduler.execution.snapshot import run_in
from scheduler.execution.starting.start import Starter
from scheduler.execution.store import ExecutionStore, Stored
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job, OnInterrupt
from scheduler.settings import Settings
from scheduler.telemetry import get_logger

log = get_logger(__name__)
LEASE_LOOK_SECONDS = 5
"""How long after a lease could be taken over its message looks again."""


class StepReceiver:
    """Decides what a step message asks for, by the state that the run row is in."""

    def __init__(
        self,
        *,
        store: ExecutionStore,
        runs: RunIndex,
        definitions: Definitions,
        claims: Claims,
        starter: Starter,
        followers: Followers,
        settlement: Settlement,
        dispatcher: Dispatcher,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._runs = runs
        self._definitions = definitions
        self._claims = claims
        self._starter = starter
        self._followers = followers
        self._settlement = settlement
        self._dispatcher = dispatcher
        self._skew = timedelta(seconds=settings.max_clock_skew_seconds)
        self._clock = clock

    async def fast(self, message: Message) -> Prepared | None:
        """Prepares a step by the run row that its message carries, or that this process knows.

        None: take the slow way.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if message.run is None or message.etag is None or message.step is None:
            return await self._known(message)
        stored = run_in(message.run, message.etag)
        place = stored.value.place_of(message.step) if stored is not None else None
        if stored is None or place is None or stored.value.execution_id != message.execution_id:
            return None
        run = stored.value
        job = await self._definitions.load(run.job_id, run.definition)
        ready = run.steps[place].status is StepStatus.PENDING
        if not ready or run.slot is None or self._is_overdue(run, job, place):
            return None
        return Prepared(
            step_type=job.steps[place].type,
            claim=lambda: self._claims.claim(stored, job, place),
        )

    async def _known(self, message: Message) -> Prepared | None:
        """Prepares one of several steps that were sent at once."""
        execution_id = message.execution_id
        known = self._store.latest.get(execution_id) if execution_id is not None else None
        place = known.value.place_of(message.step or "") if known is not None else None
        if execution_id is None or known is None or place is None:
            return None
        run, state = known.value, known.value.steps[place]
        first = state.status is StepStatus.PENDING and state.sent and message.attempt == 1
        if not first or run.slot is None or run.stopping:
            return None
        job = await self._definitions.load(run.job_id, run.definition)
        if self._is_overdue(run, job, place):
            return None
        return Prepared(
            step_type=job.steps[place].type,
            claim=lambda: self._claims.claim_sent(execution_id, job, place),
        )

    async def receive(self, queue: str, message: Message, dequeue_count: int) -> Prepared | None:
        """Prepares the step that the message names; None when nothing is to be done now.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if message.execution_id is None or message.step is None:
            return None
        stored = await self._store.run(message.execution_id)
        if stored is None:
            log.warning("a step of an unknown execution", extra={"action": "message_dropped"})
            return None
        run = stored.value
        place = run.place_of(message.step)
        if run.state.finished:
            await self._settlement.settle_again(run)
            return None
        if place is None:
            log.warning("a step that its job has not", extra={"action": "message_dropped"})
            return None
        job = await self._definitions.load(run.job_id, run.definition)
        state = run.steps[place]
        attempt = message.attempt or 1
        match state.status:
            case StepStatus.PENDING | StepStatus.RETRYING | StepStatus.WAITING:
                return await self._begin(queue, message, stored, job, place, dequeue_count)
            case StepStatus.RUNNING if attempt >= state.attempt:
                return await self._running(message, stored, job, place, dequeue_count)
            case StepStatus.RUNNING:
                log.info("a message of an older attempt", extra={"action": "message_dropped"})
            case _:
                await self._followers.send_again(run, job)
        return None

    async def look_after(self, execution_id: ExecutionId, dequeue_count: int) -> Prepared | None:
        """Prepares the takeover of a step whose start message came back: its worker may be dead.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        stored = await self._store.run(execution_id)
        if stored is None or stored.value.state.finished:
            return None
        run = stored.value
        job = await self._definitions.load(run.job_id, run.definition)
        for place, state in enumerate(run.steps):
            if state.status is StepStatus.RUNNING:
                message = running_message(run, state)
                prepared = await self._running(message, stored, job, place, dequeue_count)
                if prepared is not None:
                    return prepared
        return None

    async def _begin(
        self,
        queue: str,
        message: Message,
        stored: Stored[Run],
        job: Job,
        place: int,
        dequeue_count: int,
    ) -> Prepared | None:
        run = stored.value
        state = run.steps[place]
        expected = step_message(run, state)
        if (message.attempt, message.look) != (expected.attempt, expected.look):
            log.info("a message of an older attempt", extra={"action": "message_dropped"})
            if dequeue_count > 1:  # the one that recorded it may have died before it sent the next
                await self._followers.send_steps(run, (place,))
            return None
        if state.wake_at is not None and not await self._dispatcher.is_time(state.wake_at):
            await self._dispatcher.send_later(run.timezone, message, state.wake_at)
            return None
        startable = Graph(job).startable(place, run.steps, out_of_time=run.out_of_time)
        if state.status is StepStatus.PENDING and not startable:
            log.info("a step whose turn is not yet", extra={"action": "message_dropped"})
            return None
        if run.slot is None and not self._only_ends(run, job, place):
            entry = await self._runs.get(queue, run.execution_id)
            prepared = await self._starter.admit(queue, stored, entry)
            if prepared is None and state.wait_until is not None:
                # Parked: when its time is over meanwhile, what it waits for has to be ended.
                await self._dispatcher.send_later(run.timezone, message, state.wait_until)
            return prepared
        if self._is_overdue(run, job, place):
            return await self._starter.prepare(stored)
        return Prepared(
            step_type=job.steps[place].type,
            claim=lambda: self._claims.claim(stored, job, place),
        )

    def _is_overdue(self, run: Run, job: Job, place: int) -> bool:
        """Whether the job's time is over, and the step is one that must not begin any more."""
        waits = run.steps[place].status is StepStatus.WAITING
        over = self._clock.now() >= run.deadline and not run.stopping
        return over and not waits and not goes_on(run, job, place)

    def _only_ends(self, run: Run, job: Job, place: int) -> bool:
        """Whether all that is left of a step is to end its outside work: that needs no slot."""
        state, now = run.steps[place], self._clock.now()
        if state.status is not StepStatus.WAITING:
            return False
        if state.wait_until is not None and now >= state.wait_until:
            return True
        return (run.stopping or now >= run.deadline) and not goes_on(run, job, place)

    async def _running(
        self, message: Message, stored: Stored[Run], job: Job, place: int, dequeue_count: int
    ) -> Prepared | None:
        run = stored.value
        record = await self._store.step(run.key, place)
        if record is None:
            raise LookupError(f"the row of step {run.steps[place].id}, which runs, is gone")
        if record.value.fence != run.steps[place].fence:
            return None
        if record.value.lease_is_over(self._clock.now(), self._skew):
            return await self._take_over(stored, job, place, record)
        if dequeue_count > 1:
            await self._look_again_later(message, run, record.value)
        else:
            log.info("a step that is running already", extra={"action": "duplicate_dropped"})
        return None

    async def _look_again_later(self, message: Message, run: Run, record: StepRecord) -> None:
        until = record.lease_until or self._clock.now()
        again = until + self._skew + timedelta(seconds=LEASE_LOOK_SECONDS)
        await self._dispatcher.send(run.timezone, message, again)

    async def _take_over(
        self, stored: Stored[Run], job: Job, place: int, record: Stored[StepRecord]
    ) -> Prepared | None:
        run, spec = stored.value, job.steps[place]
        log.warning("the worker of a step is lost", extra={"action": "step_taken_over"})
        outcome = self._refusal(run, job, place, record.value)
        if outcome is None:
            return Prepared(
                step_type=spec.type,
                claim=lambda: self._claims.take_over(stored, job, place, record),
            )
        dead = Claim(run=stored, job=job, place=place, record=record.value, step_etag=record.etag)
        recorded = await self._claims.record(dead, outcome)
        if recorded is not None:
            await self._followers.follow(recorded)
        return None

    def _refusal(self, run: Run, job: Job, place: int, record: StepRecord) -> Outcome | None:
        """Why nobody takes a step over, as its outcome; None when somebody may.

        One that waits for outside work is taken over whatever its job says: what the look before
        left tells what there is to look at, or to end.
        """
        spec, state = job.steps[place], run.steps[place]
        stops = not goes_on(run, job, place)
        if record.waiting_state is not None and state.interruptions < MAX_INTERRUPTIONS:
            return None
        if run.cancel is not None and stops:
            return DIED_CANCELLED
        if stops and self._clock.now() >= run.deadline:
            text = "the worker died while the step ran, and the job's timeout_seconds are over"
        elif spec.on_interrupt is OnInterrupt.FAIL:
            text = (
                "the worker died while the step ran, and on_interrupt is fail: find out what it"
                " did, then run the job again"
            )
        elif state.interruptions >= MAX_INTERRUPTIONS:
            text = f"the worker died {state.interruptions + 1} times while the step ran"
        else:
            return None
        return Outcome(error_code="step_interrupted", error_message=text)
