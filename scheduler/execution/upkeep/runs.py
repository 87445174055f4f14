"""What upkeep does for one unfinished run: it sends again, ends what is out of time, and repeats
duties. It never runs a step.
"""

from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.control import ControlState
from scheduler.dispatch.dispatcher import Dispatcher, ZoneQueue
from scheduler.dispatch.ids import Trigger
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.run_index import Place, RunEntry, RunIndex
from scheduler.errors import DefinitionLost
from scheduler.execution.admission.holdings import Holdings
from scheduler.execution.claims import Claims
from scheduler.execution.followers import Followers, running_message
from scheduler.execution.rules.advance import is_done
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.standstill import (
    overdue_retries,
    sleeps,
    waits_for_message,
    wakes_later,
)
from scheduler.execution.rules.states import RunState, StepStatus
from scheduler.execution.settle import Settlement
from scheduler.execution.starting.standby import Standby
from scheduler.execution.store import ExecutionStore, Stored
from scheduler.jobs.definitions import Definitions
from scheduler.settings import Settings
from scheduler.telemetry import get_logger

log = get_logger(__name__)
LONGEST_STALL = timedelta(minutes=15)


class RunUpkeep:
    """Looks after single runs.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(
        self,
        *,
        store: ExecutionStore,
        runs: RunIndex,
        definitions: Definitions,
        holdings: Holdings,
        claims: Claims,
        followers: Followers,
        settlement: Settlement,
        dispatcher: Dispatcher,
        standby: Standby,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._runs = runs
        self._definitions = definitions
        self._holdings = holdings
        self._claims = claims
        self._followers = followers
        self._settlement = settlement
        self._dispatcher = dispatcher
        self._standby = standby
        self._stall = timedelta(seconds=settings.stall_seconds)
        self._skew = timedelta(seconds=settings.max_clock_skew_seconds)
        self._clock = clock

    async def look(
        self, zone: ZoneQueue, state: ControlState, entry: RunEntry, done: set[str], *, parked: bool
    ) -> bool:
        """Does what the run needs by its `run:` row, and by its run row where that may matter.

        `done`: the jobs whose line has been looked at in this round. With `parked` the run rows of
        those that wait for a slot are read too: one may have ended, and its end not been told.
        Returns whether that was looked at.
        """
        if entry.place is Place.WAITING and not state.admits(entry.announcement.trigger):
            await self._hold(zone, entry)
            return False
        now = self._clock.now()
        if entry.place is Place.ARRIVING:
            if self._is_overdue(max(entry.announcement.due, entry.announced), entry, now):
                await self._start_again(zone, entry, now)
            return False
        in_time = entry.deadline is not None and now < entry.deadline
        if entry.place is Place.WAITING and in_time and not parked:
            return False
        stored = await self._store.run(entry.announcement.execution_id)
        if stored is not None:
            await self._arrived(zone, stored, entry, done, now)
        elif self._is_overdue(max(entry.since, entry.announced), entry, now):
            await self._start_again(zone, entry, now)
        return True

    async def let_go(
        self, zone: ZoneQueue, state: ControlState, entry: RunEntry, delay: timedelta
    ) -> None:
        """Sends the start of a run that the control word held, once it lets it go."""
        now = self._clock.now()
        if not state.admits(entry.announcement.trigger):
            return
        if entry.announced <= entry.since or self._is_overdue(entry.announced, entry, now):
            await self._start_again(zone, entry, now, delay)

    async def _hold(self, zone: ZoneQueue, entry: RunEntry) -> None:
        stored = await self._store.run(entry.announcement.execution_id)
        if stored is not None:
            await self._standby.hold_parked(zone.queue, stored, entry)

    async def _arrived(
        self,
        zone: ZoneQueue,
        stored: Stored[Run],
        entry: RunEntry,
        done: set[str],
        now: datetime,
    ) -> None:
        if self._dispatcher.queue_of(stored.value.timezone) != zone.queue:
            await self._holdings.leave_all(zone.queue, stored.value.execution_id)
        elif stored.value.state.finished:
            await self._settlement.settle_again(stored.value)
        elif entry.place is Place.HELD:
            return  # neither its time nor its patience runs out while the control word holds it
        elif entry.place is Place.QUEUED and not stored.value.holds_current:
            await self._queued(zone, stored.value, entry, done, now)
        elif await self._is_out_of_time(stored, now):
            return
        elif entry.place is Place.QUEUED:
            await self._queued(zone, stored.value, entry, done, now)
        elif entry.place is Place.WAITING:
            await self._call_up(stored.value, now)
        else:
            await self._unfinished(zone, stored.value, entry, now)

    async def _call_up(self, run: Run, now: datetime) -> None:
        """Sends what is to end its outside work, and does not need the slot that its run awaits."""
        overdue = tuple(
            place
            for place in overdue_retries(run, now)
            if run.stopping and run.steps[place].status is StepStatus.WAITING
        )
        await self._followers.send_steps(run, overdue)

    def _is_overdue(self, since: datetime, entry: RunEntry, now: datetime) -> bool:
        """Whether a message is to be sent again: each time after twice the time, to a limit.

        What was sent in vain before it last moved on, at `since`, counts no more.
        """
        sends = entry.sends if since <= entry.announced else 0
        patience = min(self._stall * 2.0 ** min(sends, 20), max(self._stall, LONGEST_STALL))
        return now - since > patience

    async def _queued(
        self, zone: ZoneQueue, run: Run, entry: RunEntry, done: set[str], now: datetime
    ) -> None:
        if now - max(entry.since, entry.announced) <= self._stall:
            return
        if run.holds_current:
            await self._start_again(zone, entry, now)
        elif run.job_id not in done:
            done.add(run.job_id)
            await self._settlement.start_queued(run.job_id)

    async def _start_again(
        self, zone: ZoneQueue, entry: RunEntry, now: datetime, delay: timedelta = timedelta()
    ) -> None:
        announced = entry.announcement
        etag = await self._runs.sent_again(zone.queue, entry, now)
        if etag is None:
            return
        fresh = entry.place is Place.ARRIVING and announced.trigger is Trigger.SCHEDULE
        message = Message(
            kind=MessageKind.START,
            execution_id=announced.execution_id,
            due=announced.due,
            etag=etag if fresh else None,
            revision=announced.revision if fresh and not announced.skip_reason else None,
        )
        log.warning("a start is sent again", extra={"action": "start_sent_again"})
        await self._dispatcher.send(zone.timezone, message, now + delay)

    async def _is_out_of_time(self, stored: Stored[Run], now: datetime) -> bool:
        """Ends an execution whose time is up; False where it goes on, be it to clean up."""
        run = stored.value
        if now < run.deadline or run.stopping or run.runs_a_step:
            return False
        try:
            job = await self._definitions.load(run.job_id, run.definition)
        except DefinitionLost:
            ended = await self._claims.expire(stored)
            if ended is not None:
                await self._settlement.settle_again(ended)
            return True
        if is_done(run, job):
            return False
        recorded = await self._claims.advance(stored, job)
        if recorded is None:
            return True
        log.warning("an execution ran out of time", extra={"action": "execution_expired"})
        if recorded.run.state.finished:
            await self._settlement.settle_again(recorded.run)
        else:
            await self._followers.follow(recorded)
        return True

    async def _unfinished(self, zone: ZoneQueue, run: Run, entry: RunEntry, now: datetime) -> None:
        overdue = overdue_retries(run, now)
        if overdue and self._is_overdue(entry.announced, entry, now):
            log.warning("a retry is overdue", extra={"action": "step_sent_again"})
            await self._runs.sent_again(zone.queue, entry, now)
            await self._followers.send_steps(run, overdue)
            await self._send_takeovers(run, await self._lost_steps(run, now))
            return
        if now - run.progress_at <= self._stall:
            return
        if run.state is RunState.PENDING:
            if self._is_overdue(max(entry.since, entry.announced), entry, now):
                await self._start_again(zone, entry, now)
            return
        if sleeps(run, now):
            await self._rest(zone, run, entry, now)
            return
        if not self._is_overdue(max(run.progress_at, entry.announced), entry, now):
            return
        lost = await self._lost_steps(run, now)
        if lost:
            log.warning("a worker is lost", extra={"action": "takeover_sent"})
            await self._runs.sent_again(zone.queue, entry, now)
            await self._send_takeovers(run, lost)
        elif waits_for_message(run):
            await self._stands_still(zone, run, entry, now)

    async def _stands_still(
        self, zone: ZoneQueue, run: Run, entry: RunEntry, now: datetime
    ) -> None:
        log.warning("an execution stands still", extra={"action": "step_sent_again"})
        job = await self._definitions.load(run.job_id, run.definition)
        if await self._followers.send_again(run, job):
            await self._runs.sent_again(zone.queue, entry, now)
        else:
            await self._start_again(zone, entry, now)

    async def _rest(self, zone: ZoneQueue, run: Run, entry: RunEntry, now: datetime) -> None:
        """Takes the slot back of a run that fell asleep, and died before it gave it back."""
        if not run.sleeps or not wakes_later(run, now):
            return
        if run.slot is not None:
            await self._followers.rest(run)
        elif entry.slot is not None and now - entry.since > self._stall:
            held = await self._holdings.held(zone.queue, run.execution_id, entry.slot)
            if held is not None:
                await self._holdings.rest(zone.queue, run.execution_id, held)
                await self._settlement.hand_over(zone.timezone)

    async def _lost_steps(self, run: Run, now: datetime) -> list[int]:
        lost = []
        for place, step in enumerate(run.steps):
            if step.status is not StepStatus.RUNNING:
                continue
            record = await self._store.step(run.key, place)
            if record is None or record.value.lease_is_over(now, self._skew):
                lost.append(place)
        return lost

    async def _send_takeovers(self, run: Run, places: list[int]) -> None:
        for place in places:
            message = running_message(run, run.steps[place])
            await self._dispatcher.send(run.timezone, message)
