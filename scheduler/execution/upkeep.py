"""Finds what a crash left lying, by the `run:` rows, and sends its message again.

Upkeep never frees a slot and never runs a step: it only sends, hands over, and repeats duties.
"""

import asyncio
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher, ZoneQueue
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.dispatch.run_index import PREFIX, Place, RunEntry, RunIndex, Trigger, entry_of
from scheduler.execution.admission import Admission
from scheduler.execution.claims import Claims
from scheduler.execution.followers import Followers, running_message
from scheduler.execution.model import Run
from scheduler.execution.poison import PoisonWatch
from scheduler.execution.settle import Settlement
from scheduler.execution.states import RunState, StepStatus
from scheduler.execution.store import ExecutionStore, Stored
from scheduler.jobs.definitions import Definitions
from scheduler.settings import Settings
from scheduler.storage.keys import after
from scheduler.storage.tables import Table
from scheduler.telemetry import bound, get_logger

log = get_logger(__name__)
OVERDUE_WAKE = timedelta(seconds=120)
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
        poison: PoisonWatch,
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
        self._poison = poison
        self._stall = timedelta(seconds=settings.stall_seconds)
        self._skew = timedelta(seconds=settings.max_clock_skew_seconds)
        self._clock = clock

    async def run(self) -> int:
        """Looks at every unfinished run once; returns how many there are.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        gate = asyncio.Semaphore(_CONCURRENT_ZONES)

        async def look(zone: ZoneQueue) -> int:
            async with gate:
                return await self._zone(zone)

        zones = [zone async for zone in self._dispatcher.zones_in_use()]
        return sum(await asyncio.gather(*map(look, zones)))

    async def _zone(self, zone: ZoneQueue) -> int:
        count = 0
        waiting = False
        async for row in self._zones.query(zone.queue, PREFIX, after(PREFIX)):
            count += 1
            entry = entry_of(row)
            waiting = waiting or entry.place is Place.WAITING
            execution_id = entry.announcement.execution_id
            with bound(execution_id=execution_id, timezone=zone.timezone):
                await self._entry(zone, entry)
        if waiting:
            await self._settlement.hand_over(zone.timezone)
        await self._poison.look(zone)
        return count

    async def _entry(self, zone: ZoneQueue, entry: RunEntry) -> None:
        now = self._clock.now()
        if entry.place is Place.ARRIVING:
            if now - max(entry.announcement.due, entry.announced) > self._stall:
                await self._start_again(zone, entry, now)
            return
        stored = await self._store.run(entry.announcement.execution_id)
        if stored is None:
            if now - max(entry.since, entry.announced) > self._stall:
                await self._start_again(zone, entry, now)
        elif stored.value.state.finished:
            await self._settlement.settle_again(stored.value)
        elif now >= stored.value.deadline and not _running(stored.value):
            await self._expire(stored, entry)
        elif entry.place is Place.QUEUED:
            await self._queued(zone, stored.value, entry, now)
        elif entry.place is not Place.WAITING:
            await self._unfinished(zone, stored.value, entry, now)

    async def _queued(self, zone: ZoneQueue, run: Run, entry: RunEntry, now: datetime) -> None:
        if now - max(entry.since, entry.announced) <= self._stall:
            return
        if run.holds_current:
            await self._start_again(zone, entry, now)
        else:
            await self._settlement.start_queued(run.job_id)

    async def _start_again(self, zone: ZoneQueue, entry: RunEntry, now: datetime) -> None:
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
        await self._dispatcher.send(zone.timezone, message)

    async def _expire(self, stored: Stored[Run], entry: RunEntry) -> None:
        ended = await self._claims.expire(stored)
        if ended is not None:
            log.warning("an execution ran out of time", extra={"action": "execution_expired"})
            await self._settlement.settle_again(ended)

    async def _unfinished(self, zone: ZoneQueue, run: Run, entry: RunEntry, now: datetime) -> None:
        if now - run.progress_at <= self._stall:
            return
        if run.state is RunState.PENDING:
            if now - entry.announced > self._stall:
                await self._start_again(zone, entry, now)
            return
        if entry.slot is not None and run.slot is None and run.state is RunState.RETRYING:
            held = await self._admission.held(zone.queue, run.execution_id, entry.slot)
            if held is not None:
                await self._admission.rest(zone.queue, run.execution_id, held)
        lost = await self._lost_steps(run, now)
        if lost:
            log.warning("a worker is lost", extra={"action": "takeover_sent"})
            await self._send_takeovers(run, lost)
        elif not _running(run) and not _sleeps(run, now):
            log.warning("an execution stands still", extra={"action": "step_sent_again"})
            job = await self._definitions.load(run.job_id, run.definition)
            await self._followers.send_again(run, job)

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


def _running(run: Run) -> bool:
    return any(step.status is StepStatus.RUNNING for step in run.steps)


def _sleeps(run: Run, now: datetime) -> bool:
    """Whether it waits for a retry whose time has not long passed."""
    return any(step.wake_at is not None and now < step.wake_at + OVERDUE_WAKE for step in run.steps)
