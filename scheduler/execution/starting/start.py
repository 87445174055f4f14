"""Start messages: a run becomes an execution, gets a slot, and its first step is prepared.

The fast way trusts what the message carries (versions of the `run:` row and of the job), and each
write checks it. Whenever something does not hold, the slow way reads everything and decides anew.
"""

import asyncio
from datetime import timedelta

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher, Outgoing
from scheduler.dispatch.ids import ExecutionId, Trigger, key_of
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.run_index import Place, RunEntry, RunIndex
from scheduler.errors import ConflictingWrite
from scheduler.execution.admission.admission import Admission
from scheduler.execution.admission.holdings import Holdings
from scheduler.execution.admission.slots import Granted, Look, Moved
from scheduler.execution.claims import Claims
from scheduler.execution.followers import Followers
from scheduler.execution.prepared import Prepared, next_places, with_sent
from scheduler.execution.rules.advance import is_done
from scheduler.execution.rules.graph import Graph
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.states import RunState
from scheduler.execution.settle import Settlement
from scheduler.execution.starting.arrivals import Arrivals, announcement_of, new_run
from scheduler.execution.starting.overlap import OverlapRule
from scheduler.execution.starting.standby import Standby
from scheduler.execution.store import ExecutionStore, Stored
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job, Overlap
from scheduler.schedule.plan import LATE_SECONDS
from scheduler.telemetry import get_logger

log = get_logger(__name__)
MANUAL_SENDS = 5
"""Only after so many starts, half an hour, is the announcement of a manual run void that nobody has
made: `scheduler.execution.starting.manual` gives up long before."""


class Starter:
    """Brings runs to their first step, or to whatever step is next."""

    def __init__(
        self,
        *,
        store: ExecutionStore,
        runs: RunIndex,
        arrivals: Arrivals,
        definitions: Definitions,
        overlap: OverlapRule,
        admission: Admission,
        holdings: Holdings,
        standby: Standby,
        claims: Claims,
        settlement: Settlement,
        followers: Followers,
        dispatcher: Dispatcher,
        clock: Clock,
    ) -> None:
        self._store = store
        self._runs = runs
        self._arrivals = arrivals
        self._definitions = definitions
        self._overlap = overlap
        self._admission = admission
        self._holdings = holdings
        self._standby = standby
        self._claims = claims
        self._settlement = settlement
        self._followers = followers
        self._dispatcher = dispatcher
        self._clock = clock

    async def fast(
        self, queue: str, message: Message, execution_id: ExecutionId
    ) -> Prepared | None:
        """Prepares a scheduled run that nothing has happened to; None: take the slow way.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if message.etag is None or message.revision is None or message.due is None:
            return None
        if self._clock.now() - message.due > timedelta(seconds=LATE_SECONDS):
            return None
        look, found = await asyncio.gather(
            self._admission.look(queue),
            self._arrivals.current_job(execution_id, message.revision),
        )
        if found is None or not look.state.admits(Trigger.SCHEDULE):
            return None
        row, job = found
        run = new_run(
            execution_id,
            job,
            row.definition,
            trigger=Trigger.SCHEDULE,
            scheduled=key_of(execution_id).time,
            now=self._clock.now(),
        )
        if await self._overlap.is_behind(run):
            return None
        ready = Graph(job).progress(run.steps).ready
        granted = await self._grant(queue, execution_id, message.etag, look) if ready else None
        if granted is None:
            return None
        begun = with_sent(run.in_slot(granted.slot, granted.etag), job, ready[1:])
        if run.overlap is not Overlap.ALLOW:
            begun = begun.now_current()
        return Prepared(
            step_type=job.steps[ready[0]].type,
            claim=lambda: self._claims.create(begun, job, ready[0]),
            siblings=ready[1:],
        )

    async def _grant(
        self, queue: str, execution_id: ExecutionId, etag: str, look: Look
    ) -> Granted | None:
        try:
            return await self._admission.grant(queue, execution_id, etag, look)
        except Moved:
            return None

    async def slow(self, queue: str, execution_id: ExecutionId) -> Prepared | None:
        """Prepares whatever the run needs next; None when nothing is to be done now.

        Raises:
            Moved: its `run:` row has changed meanwhile: look again.
            StorageUnavailable: storage cannot be reached.
        """
        entry, stored, look = await asyncio.gather(
            self._runs.get(queue, execution_id),
            self._store.run(execution_id),
            self._admission.look(queue),
        )
        if entry is not None and not await self._is_time(queue, entry):
            return None
        if stored is None:
            if entry is None:
                log.info("a run that is not known", extra={"action": "message_dropped"})
                return None
            if entry.announcement.trigger is not Trigger.SCHEDULE and entry.sends < MANUAL_SENDS:
                log.info("a run that is being made", extra={"action": "start_too_soon"})
                return None
            enters = look.state.admits(entry.announcement.trigger)
            stored = await self._arrivals.arrive(entry.announcement, enters=enters)
        if stored is None or self._dispatcher.queue_of(stored.value.timezone) != queue:
            # Void; or announced in its job's old zone too, before the job moved to the new one.
            await self._forget(queue, entry)
            return None
        if stored.value.state.finished:
            await self._settlement.settle_again(stored.value)
            return None
        run = stored.value
        if run.state is RunState.PENDING and not look.state.admits(run.trigger):
            announced = entry or await self._announce_again(queue, run)
            await self._standby.hold(queue, stored, announced)
            return None
        return await self.admit(queue, stored, entry, look)

    async def _is_time(self, queue: str, entry: RunEntry) -> bool:
        """Whether a run may start by this instance's clock; its start is hidden again if not.

        One that was parked, or in line, may have been let in by an instance whose clock is fast.
        """
        announced = entry.announcement
        scheduled = announced.trigger is Trigger.SCHEDULE
        if not scheduled or await self._dispatcher.is_time(announced.due):
            return True
        start = Message(
            kind=MessageKind.START, execution_id=announced.execution_id, due=announced.due
        )
        await self._dispatcher.send_to(queue, [Outgoing(start, announced.due)])
        return False

    async def _forget(self, queue: str, entry: RunEntry | None) -> None:
        """Removes an announcement that is void, unless it has been made again meanwhile."""
        log.info("an announcement that is void", extra={"action": "announcement_dropped"})
        if entry is not None and not await self._holdings.forget(queue, entry):
            raise Moved

    async def admit(
        self,
        queue: str,
        stored: Stored[Run],
        entry: RunEntry | None,
        look: Look | None = None,
    ) -> Prepared | None:
        """Prepares the next step of an unfinished execution, once it has its turn and a slot.

        Raises:
            Moved: one of its rows has changed meanwhile: look again.
            StorageUnavailable: storage cannot be reached.
        """
        entry = entry or await self._announce_again(queue, stored.value)
        if stored.value.state is RunState.PENDING:
            stored = await self._standby.take_turn(stored, entry)
        entered = await self._enter(stored)
        run = entered.value
        if run.state.finished:
            await self._settlement.settle_again(run)
            return None
        if run.overlap is Overlap.QUEUE and not run.holds_current:
            await self._standby.stand_in_line(queue, run, entry)
            return None
        granted = await self._slot(queue, run, entry, look)
        if granted is None:
            return None
        in_slot = run.in_slot(granted.slot, granted.etag)
        return await self.prepare(Stored(in_slot, entered.etag))

    async def _enter(self, stored: Stored[Run]) -> Stored[Run]:
        run = stored.value
        if run.state is not RunState.PENDING or run.holds_current or run.overlap is Overlap.ALLOW:
            return stored
        try:
            return await self._overlap.enter(run, stored.etag, self._clock.now())
        except ConflictingWrite:
            raise Moved from None

    async def _announce_again(self, queue: str, run: Run) -> RunEntry:
        announced = announcement_of(run)
        now = self._clock.now()
        etags = await self._runs.announce(queue, [announced], now)
        return RunEntry(
            announcement=announced,
            announced=now,
            place=Place.ARRIVING,
            since=now,
            slot=None,
            wait=None,
            etag=etags[0],
        )

    async def _slot(
        self, queue: str, run: Run, entry: RunEntry, look: Look | None
    ) -> Granted | None:
        if entry.slot is not None:
            held = await self._holdings.held(queue, run.execution_id, entry.slot)
            if held is not None:
                # A run that knows of no slot was handed it, or sleeps: a stalled worker may be
                # about to give it back.
                known = run.slot is not None
                return held if known else await self._holdings.keep(queue, run.execution_id, held)
        if entry.place is not Place.WAITING:
            seen = look or await self._admission.look(queue)
            granted = await self._admission.grant(queue, run.execution_id, entry.etag, seen)
            if granted is not None:
                return granted
            await self._admission.park(
                queue,
                run.execution_id,
                entry.etag,
                first=run.created_at,
                priority=run.priority,
                deadline=run.deadline,
                newcomer=run.trigger if run.state is RunState.PENDING else None,
            )
        await self._settlement.hand_over(run.timezone)
        return None

    async def prepare(self, stored: Stored[Run]) -> Prepared | None:
        """Prepares the next step of an execution that holds a slot, or ends it.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        run = stored.value
        now = self._clock.now()
        job = await self._definitions.load(run.job_id, run.definition)
        if now >= run.deadline and not run.stopping and not is_done(run, job):
            if not run.runs_a_step:  # else its end begins with the end of that
                await self._go_on(stored, job)
            return None
        places = next_places(run, job, now)
        if places:
            begun = Stored(with_sent(run, job, places[1:]), stored.etag)
            return Prepared(
                step_type=job.steps[places[0]].type,
                claim=lambda: self._claims.claim(begun, job, places[0]),
                siblings=places[1:],
            )
        if Graph(job).progress(run.steps, out_of_time=run.out_of_time).end is not None:
            await self._go_on(stored, job)
        return None

    async def _go_on(self, stored: Stored[Run], job: Job) -> None:
        """Ends the execution, or has its steps that clean up run."""
        recorded = await self._claims.advance(stored, job)
        if recorded is not None:
            await self._followers.follow(recorded)
