"""The way of a message: decode, prepare, claim, run the attempt, record, follow.

One call handles one message and runs at most one step. When it returns, the message may go; when it
raises, the message has to come back.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress
from zoneinfo import ZoneInfo

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher, Outgoing
from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.messages import Message, MessageKind, decode
from scheduler.dispatch.queue_names import poison_queue_name
from scheduler.errors import RowTooLarge, StorageUnavailable, UnreadableMessage
from scheduler.execution.admission.slots import Moved
from scheduler.execution.attempts.attempt import Attempts
from scheduler.execution.attempts.lease import Lease
from scheduler.execution.claim import Claim, Recorded
from scheduler.execution.claims import Claims
from scheduler.execution.followers import Followers
from scheduler.execution.prepared import Prepared
from scheduler.execution.receive import StepReceiver
from scheduler.execution.rules.outcome import Outcome
from scheduler.execution.starting.start import Starter
from scheduler.execution.store import ExecutionStore
from scheduler.execution.upkeep.failures import Failures
from scheduler.settings import Settings
from scheduler.storage.contention import pauses
from scheduler.storage.queues import Queues
from scheduler.telemetry import bound, get_logger

log = get_logger(__name__)
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 10.0


class Engine:
    """Handles the messages of all zones."""

    def __init__(
        self,
        *,
        starter: Starter,
        receiver: StepReceiver,
        attempts: Attempts,
        claims: Claims,
        followers: Followers,
        dispatcher: Dispatcher,
        failures: Failures,
        store: ExecutionStore,
        queues: Queues,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._starter = starter
        self._receiver = receiver
        self._attempts = attempts
        self._claims = claims
        self._followers = followers
        self._dispatcher = dispatcher
        self._failures = failures
        self._queues = queues
        self._store = store
        self._settings = settings
        self._gates = _Gates(settings.limit_by_step_type)
        self._clock = clock

    async def handle(self, queue: str, text: str, dequeue_count: int) -> None:
        """Does what a message of a zone's queue asks for.

        Raises:
            StorageUnavailable: storage cannot be reached; the message has to come back.
        """
        try:
            message = decode(text)
        except UnreadableMessage as error:
            await self._put_aside(queue, text, error)
            return
        if message.execution_id is None:
            await self._put_aside(queue, text, UnreadableMessage("it names no execution"))
            return
        with bound(
            execution_id=message.execution_id,
            job_id=message.execution_id.partition(".")[0],
            queue=queue,
        ):
            try:
                if message.kind is MessageKind.START:
                    await self._start(queue, message, message.execution_id, dequeue_count)
                else:
                    await self._step(queue, message, dequeue_count)
            except Exception as error:
                await self._failures.note(queue, message.execution_id, error)
                raise

    async def _put_aside(self, queue: str, text: str, error: UnreadableMessage) -> None:
        await self._queues.send(poison_queue_name(queue), text)
        log.error(
            "a message was put aside: %s",
            error.message,
            extra={"action": "message_poisoned", "queue": queue, "error_code": error.code},
        )

    async def _start(
        self, queue: str, message: Message, execution_id: ExecutionId, dequeue_count: int
    ) -> None:
        if message.due is not None and not await self._dispatcher.is_time(message.due):
            await self._dispatcher.send_to(queue, [Outgoing(message, message.due)])
            return
        prepared = await self._starter.fast(queue, message, execution_id)
        if prepared is not None and await self._run(prepared):
            return
        for pause in pauses():
            with suppress(Moved):
                prepared = await self._starter.slow(queue, execution_id)
                if prepared is None and dequeue_count > 1:
                    prepared = await self._receiver.look_after(execution_id, dequeue_count)
                if prepared is None or await self._run(prepared):
                    return
            await asyncio.sleep(pause)
        raise StorageUnavailable(f"{execution_id} changes all the time")

    async def _step(self, queue: str, message: Message, dequeue_count: int) -> None:
        prepared = await self._receiver.fast(message) if dequeue_count == 1 else None
        if prepared is not None and await self._run(prepared):
            return
        for pause in pauses():
            with suppress(Moved):
                prepared = await self._receiver.receive(queue, message, dequeue_count)
                if prepared is None or await self._run(prepared):
                    return
            await asyncio.sleep(pause)
        raise StorageUnavailable(f"{message.execution_id} changes all the time")

    async def _run(self, prepared: Prepared) -> bool:
        """Claims and runs one attempt; False when the claim was lost to another."""
        async with self._gates.of(prepared.step_type):
            claim = await prepared.claim()
            if claim is None:
                return False
            await self._send_siblings(claim, prepared.siblings)
            with bound(step_id=claim.spec.id, attempt=claim.state.attempt):
                await self._attempt(claim)
        return True

    async def _send_siblings(self, claim: Claim, siblings: tuple[int, ...]) -> None:
        try:
            await self._followers.send_steps(claim.run.value, siblings)
        except StorageUnavailable:
            # The claim stands and its step has to run; upkeep sends what is marked as sent.
            log.warning("siblings have to wait for upkeep", extra={"action": "siblings_delayed"})

    async def _attempt(self, claim: Claim) -> None:
        run, began = claim.run.value, self._clock.now()
        if claim.begins_run:
            log.info(
                "execution started",
                extra={
                    "action": "execution_started",
                    "timezone": run.timezone,
                    "lateness_seconds": round((began - claim.due).total_seconds(), 3),
                },
            )
        log.info(
            "step started",
            extra={
                "action": "step_started",
                "timezone": run.timezone,
                "local_time": began.astimezone(ZoneInfo(run.timezone)).isoformat(),
            },
        )
        async with Lease(claim, self._store, self._settings, self._clock) as lease:
            outcome = await self._attempts.run(claim, lease)
            recorded = await self._record(claim, lease, outcome) if outcome is not None else None
        if outcome is None or recorded is None:
            log.warning("the attempt no longer counts", extra={"action": "record_refused"})
            return
        waits = outcome.look_at is not None
        log.info(
            "step %s",
            "waits" if waits else f"ended: {outcome.error_code or 'success'}",
            extra={
                "action": "step_waits" if waits else "step_ended",
                "status": recorded.run.steps[claim.place].status,
                "error_code": outcome.error_code,
                "duration_ms": round((self._clock.now() - began).total_seconds() * 1000),
            },
        )
        await self._followers.follow(recorded)

    async def _record(self, claim: Claim, lease: Lease, outcome: Outcome) -> Recorded | None:
        """Records an outcome, for as long as the lease holds: the work must not be done again."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._claims.record(claim, outcome)
            except (RowTooLarge, TypeError, ValueError) as error:
                if outcome.is_bare:
                    raise
                log.exception("a result cannot be kept", extra={"action": "output_refused"})
                outcome = outcome.without_output(f"not kept: {error}")
            except StorageUnavailable:
                if lease.lost.is_set():
                    raise
                log.warning("the record has to wait for storage", extra={"action": "record_waits"})
                await asyncio.wait({lease.gone}, timeout=pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)


class _Gates:
    """How many attempts of a step type run at once in this process."""

    def __init__(self, limits: Mapping[str, int]) -> None:
        self._limits = limits
        self._gates: dict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(1000))

    def of(self, step_type: str) -> asyncio.Semaphore:
        """The gate of a step type."""
        if step_type in self._limits and step_type not in self._gates:
            self._gates[step_type] = asyncio.Semaphore(self._limits[step_type])
        return self._gates[step_type]
