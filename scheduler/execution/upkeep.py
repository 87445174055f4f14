"""Finds what a crash left lying, by the `run:` rows, and sends its message again.

Upkeep never frees a slot and never runs a step: it only sends, hands over, and repeats duties.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from scheduler.clock import Clock
from scheduler.dispatch.control import ZONE_STATE, Control, ControlState, zone_state
from scheduler.dispatch.dispatcher import Dispatcher, ZoneQueue
from scheduler.dispatch.ids import Trigger, parse_execution_id
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.run_index import PREFIX, Place, RunEntry, RunIndex, entry_of, run_key
from scheduler.errors import StorageUnavailable
from scheduler.execution.admission import Admission
from scheduler.execution.arrivals import announcement_of
from scheduler.execution.claims import Claims
from scheduler.execution.followers import Followers, running_message
from scheduler.execution.model import Run
from scheduler.execution.poison import PoisonWatch
from scheduler.execution.settle import Settlement
from scheduler.execution.slots import WAIT_PREFIX, slot_holder
from scheduler.execution.standby import Standby
from scheduler.execution.standstill import running, sleeps, waits_for_message, wakes_later
from scheduler.execution.states import RunState, StepStatus
from scheduler.execution.store import ExecutionStore, Stored
from scheduler.jobs.definitions import Definitions
from scheduler.settings import Settings
from scheduler.storage.tables import Row, Table
from scheduler.telemetry import bound, get_logger

log = get_logger(__name__)
LONGEST_STALL = timedelta(minutes=15)
ZONE_END = "wait;"
"""Beyond a zone's `run:`, `slot:` and `wait:` rows, which stand in this order."""
_CONCURRENT_ZONES = 8


class Upkeep:
    """Looks after every unfinished run, zone by zone."""

    def __init__(
        self,
        *,
        zones: Table,
        store: ExecutionStore,
        runs: RunIndex,
        definitions: Definitions,
        admission: Admission,
        claims: Claims,
        followers: Followers,
        settlement: Settlement,
        dispatcher: Dispatcher,
        standby: Standby,
        poison: PoisonWatch,
        control: Control,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._zones = zones
        self._store = store
        self._runs = runs
        self._definitions = definitions
        self._admission = admission
        self._claims = claims
        self._followers = followers
        self._settlement = settlement
        self._dispatcher = dispatcher
        self._standby = standby
        self._poison = poison
        self._control = control
        self._stall = timedelta(seconds=settings.stall_seconds)
        self._skew = timedelta(seconds=settings.max_clock_skew_seconds)
        self._clock = clock

    async def run(self) -> int:
        """Looks at every unfinished run once; returns how many there are.

        What fails for one run, or one zone, does not hold up the others.

        Raises:
            StorageUnavailable: storage could not be reached for some.
        """
        gate = asyncio.Semaphore(_CONCURRENT_ZONES)

        async def look(zone: ZoneQueue) -> int:
            async with gate:
                return await self._zone(zone, word.state)

        word = await self._control.read()
        zones = [zone async for zone in self._dispatcher.zones_in_use()]
        counts = await asyncio.gather(*map(look, zones), return_exceptions=True)
        for count in counts:
            if isinstance(count, BaseException):
                raise count
        return sum(count for count in counts if isinstance(count, int))

    async def _zone(self, zone: ZoneQueue, state: ControlState) -> int:
        seen: set[str] = set()
        held: list[Row] = []
        waiting, marked = False, ControlState.RUNNING
        async for row in self._zones.query(zone.queue, PREFIX, ZONE_END):
            if row.key.startswith(PREFIX):
                seen.add(row.key)
                if row.values.get("place") == Place.HELD:
                    held.append(row)
                await self._guarded(partial(self._entry, state), zone, row)
            elif row.key.startswith(WAIT_PREFIX):
                waiting = True
            elif row.key == ZONE_STATE:
                marked = zone_state(row)
            elif run_key(slot_holder(row)) not in seen:
                await self._guarded(self._ownerless, zone, row)
        if marked is not state:
            await self._control.mark(zone.queue)
        waiting_of: Counter[str] = Counter()
        for row in held:
            job_id = row.key.removeprefix(PREFIX).partition(".")[0]
            waiting_of[job_id] += 1
            delay = timedelta(seconds=waiting_of[job_id] - 1)
            await self._guarded(partial(self._let_go, state, delay), zone, row)
        if waiting:
            await self._settlement.hand_over(zone.timezone)
        await self._poison.look(zone)
        return len(seen)

    async def _guarded(
        self, look: Callable[[ZoneQueue, Row], Awaitable[None]], zone: ZoneQueue, row: Row
    ) -> None:
        of_run = row.key.startswith(PREFIX)
        execution_id = row.key.removeprefix(PREFIX) if of_run else slot_holder(row)
        with bound(execution_id=execution_id, timezone=zone.timezone):
            try:
                await look(zone, row)
            except StorageUnavailable:
                log.warning("upkeep has to look again", extra={"action": "upkeep_delayed"})
            except Exception:
                log.exception("upkeep of a run failed", extra={"action": "upkeep_failed"})

    async def _ownerless(self, zone: ZoneQueue, slot: Row) -> None:
        """Looks after a slot whose run has no `run:` row, so that the zone cannot silt up."""
        execution_id = slot_holder(slot)
        if await self._runs.get(zone.queue, execution_id) is not None:
            return
        log.error("a slot without a run", extra={"action": "slot_ownerless"})
        known = parse_execution_id(execution_id) is not None
        stored = await self._store.run(execution_id) if known else None
        if stored is None or stored.value.state.finished:
            await self._admission.leave_slots(zone.queue, execution_id)
        else:
            announced = announcement_of(stored.value)
            await self._runs.restore(zone.queue, announced, slot.key, self._clock.now())

    async def _let_go(
        self, state: ControlState, delay: timedelta, zone: ZoneQueue, row: Row
    ) -> None:
        """Sends the start of a run that the control word held, once it lets it go.

        Those of one job a second apart, to come in the order of their instants.
        """
        entry, now = entry_of(row), self._clock.now()
        if not state.admits(entry.announcement.trigger):
            return
        if entry.announced <= entry.since or self._is_overdue(entry.announced, entry, now):
            await self._start_again(zone, entry, now, delay)

    async def _entry(self, state: ControlState, zone: ZoneQueue, row: Row) -> None:
        entry = entry_of(row)
        if entry.place is Place.WAITING and not state.admits(entry.announcement.trigger):
            await self._hold(zone, entry)
            return
        now = self._clock.now()
        if entry.place is Place.ARRIVING:
            if self._is_overdue(max(entry.announcement.due, entry.announced), entry, now):
                await self._start_again(zone, entry, now)
            return
        if entry.place is Place.WAITING and entry.deadline is not None and now < entry.deadline:
            return
        stored = await self._store.run(entry.announcement.execution_id)
        if stored is None:
            if self._is_overdue(max(entry.since, entry.announced), entry, now):
                await self._start_again(zone, entry, now)
            return
        await self._arrived(zone, stored, entry, now)

    async def _hold(self, zone: ZoneQueue, entry: RunEntry) -> None:
        stored = await self._store.run(entry.announcement.execution_id)
        if stored is not None:
            await self._standby.hold_parked(zone.queue, stored, entry)

    async def _arrived(
        self, zone: ZoneQueue, stored: Stored[Run], entry: RunEntry, now: datetime
    ) -> None:
        if self._dispatcher.queue_of(stored.value.timezone) != zone.queue:
            await self._admission.leave_all(zone.queue, stored.value.execution_id)
        elif stored.value.state.finished:
            await self._settlement.settle_again(stored.value)
        elif entry.place is Place.HELD:
            return  # neither its time nor its patience runs out while the control word holds it
        elif entry.place is Place.QUEUED and not stored.value.holds_current:
            await self._queued(zone, stored.value, entry, now)
        elif now >= stored.value.deadline and not running(stored.value):
            await self._expire(stored)
        elif entry.place is Place.QUEUED:
            await self._queued(zone, stored.value, entry, now)
        elif entry.place is not Place.WAITING:
            await self._unfinished(zone, stored.value, entry, now)

    def _is_overdue(self, since: datetime, entry: RunEntry, now: datetime) -> bool:
        """Whether a message is to be sent again: each time after twice the time, to a limit."""
        patience = min(self._stall * 2.0 ** min(entry.sends, 20), max(self._stall, LONGEST_STALL))
        return now - since > patience

    async def _queued(self, zone: ZoneQueue, run: Run, entry: RunEntry, now: datetime) -> None:
        if now - max(entry.since, entry.announced) <= self._stall:
            return
        if run.holds_current:
            await self._start_again(zone, entry, now)
        else:
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

    async def _expire(self, stored: Stored[Run]) -> None:
        ended = await self._claims.expire(stored)
        if ended is not None:
            log.warning("an execution ran out of time", extra={"action": "execution_expired"})
            await self._settlement.settle_again(ended)

    async def _unfinished(self, zone: ZoneQueue, run: Run, entry: RunEntry, now: datetime) -> None:
        if now - run.progress_at <= self._stall:
            return
        if run.state is RunState.PENDING:
            if self._is_overdue(max(entry.since, entry.announced), entry, now):
                await self._start_again(zone, entry, now)
            return
        if sleeps(run, now):
            await self._rest(zone, run, entry, now)
            return
        lost = await self._lost_steps(run, now)
        if lost:
            log.warning("a worker is lost", extra={"action": "takeover_sent"})
            await self._send_takeovers(run, lost)
        elif waits_for_message(run) and self._is_overdue(
            max(run.progress_at, entry.announced), entry, now
        ):
            log.warning("an execution stands still", extra={"action": "step_sent_again"})
            await self._runs.sent_again(zone.queue, entry, now)
            job = await self._definitions.load(run.job_id, run.definition)
            if not await self._followers.send_again(run, job):
                await self._start_again(zone, entry, now)

    async def _rest(self, zone: ZoneQueue, run: Run, entry: RunEntry, now: datetime) -> None:
        """Takes the slot back of a run that fell asleep, and died before it gave it back."""
        asleep = run.state is RunState.RETRYING and run.slot is None and wakes_later(run, now)
        if asleep and entry.slot is not None and now - entry.since > self._stall:
            held = await self._admission.held(zone.queue, run.execution_id, entry.slot)
            if held is not None:
                await self._admission.rest(zone.queue, run.execution_id, held)
                await self._settlement.hand_over(zone.timezone)

    async def _lost_steps(self, run: Run, now: datetime) -> list[int]:
        lost = []
        for place, step in enumerate(run.steps):
            if step.status is not StepStatus.RUNNING:
                continue
            record = await self._store.step(run.key, place)
            until = record.value.lease_until if record is not None else None
            if until is None or now > until + self._skew:
                lost.append(place)
        return lost

    async def _send_takeovers(self, run: Run, places: list[int]) -> None:
        for place in places:
            message = running_message(run, run.steps[place])
            await self._dispatcher.send(run.timezone, message)
