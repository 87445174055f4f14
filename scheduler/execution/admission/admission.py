"""At most so many executions of a zone at once: slots, and the runs parked until one is free.

Insert the wait row, *then* look at the slots again; free a slot, *then* look at the waiters: of two
that pass each other, one always sees the other, so no run is left waiting beside a free slot.
"""

import asyncio
import random
from collections.abc import AsyncGenerator
from datetime import datetime

from scheduler.clock import Clock
from scheduler.dispatch.control import ZONE_STATE, ControlState, zone_state
from scheduler.dispatch.ids import ExecutionId, Trigger
from scheduler.dispatch.run_index import Place, RunEntry, placed, run_key
from scheduler.errors import ConflictingWrite
from scheduler.execution.admission.holdings import Holdings
from scheduler.execution.admission.slots import (
    SLOT_PREFIX,
    WAIT_PREFIX,
    WAITS_END,
    Granted,
    HandedOver,
    Look,
    Moved,
    is_waiter,
    may_start,
    slot_columns,
    waiter_columns,
)
from scheduler.settings import Settings
from scheduler.storage.contention import pauses
from scheduler.storage.keys import sortable
from scheduler.storage.tables import Delete, Insert, Merge, Row, Table, Upsert

_WAITERS_SEEN = 8
_RUN_ROW = 2
"""The place of the `run:` row in the transaction that grants a slot to a waiter."""


class Admission:
    """Grants the slots of a zone; `queue` is the zone's partition everywhere."""

    def __init__(self, zones: Table, holdings: Holdings, settings: Settings, clock: Clock) -> None:
        self._zones = zones
        self._holdings = holdings
        self._limit = settings.max_concurrent_per_timezone
        self._clock = clock

    async def look(self, queue: str) -> Look:
        """Reads the slots and the first waiters, in one query.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        slots = [f"{SLOT_PREFIX}{number:02d}" for number in range(self._limit)]
        taken: set[str] = set()
        waiters: list[Row] = []
        state = ControlState.RUNNING
        rows = self._zones.query(queue, SLOT_PREFIX, WAITS_END, limit=100 + _WAITERS_SEEN)
        async for row in rows:
            if row.key.startswith(SLOT_PREFIX):
                taken.add(row.key)
            elif row.key == ZONE_STATE:
                state = zone_state(row)
            elif is_waiter(row):
                waiters.append(row)
        if state is not ControlState.RUNNING:
            waiters = await self._admitted_waiters(queue, state)
        # Those beyond a lowered limit count too. Of two newcomers both then aim at the same slots.
        left = max(self._limit - len(taken), 0)
        free = [slot for slot in slots if slot not in taken][:left]
        return Look(free, waiters[:_WAITERS_SEEN], state)

    async def _admitted_waiters(self, queue: str, state: ControlState) -> list[Row]:
        """The waiters that may start although not all may."""
        rows = self._zones.query(queue, WAIT_PREFIX, WAITS_END)
        return [row async for row in rows if is_waiter(row) and may_start(row, state)]

    async def grant(
        self, queue: str, execution_id: ExecutionId, run_etag: str, look: Look
    ) -> Granted | None:
        """Takes a free slot for a newcomer; None when there is none, or others wait.

        Raises:
            Moved: the run's row is not of the version `run_etag`.
            StorageUnavailable: storage cannot be reached.
        """
        for pause in pauses():
            if look.waiters or not look.free:
                return None
            slot = random.choice(look.free)
            now = self._clock.now()
            columns = placed(Place.ACTIVE, now, slot=slot)
            try:
                etags = await self._zones.commit(
                    queue,
                    [
                        Insert(slot, slot_columns(execution_id, now)),
                        Merge(run_key(execution_id), columns, run_etag),
                    ],
                )
            except ConflictingWrite as error:
                if error.index != 0:
                    raise Moved from None
                await asyncio.sleep(pause)
                look = await self.look(queue)
                continue
            return Granted(slot, etags[0])
        return None

    async def park(
        self,
        queue: str,
        execution_id: ExecutionId,
        run_etag: str,
        *,
        first: datetime,
        priority: int,
        deadline: datetime,
        newcomer: Trigger | None,
    ) -> None:
        """Puts a run among the waiters, in the order of `first`, the instant it came.

        `newcomer` says why a run exists that has not started yet; None for one that has.

        Raises:
            Moved: the run's row is not of the version `run_etag`.
            StorageUnavailable: storage cannot be reached.
        """
        key = f"{WAIT_PREFIX}{sortable(first)}:{execution_id}"
        columns = placed(Place.WAITING, self._clock.now(), wait=key) | {"deadline": deadline}
        waiter = waiter_columns(execution_id, priority=priority, first=first, newcomer=newcomer)
        try:
            await self._zones.commit(
                queue, [Merge(run_key(execution_id), columns, run_etag), Upsert(key, waiter)]
            )
        except ConflictingWrite:
            raise Moved from None

    async def park_again(self, queue: str, entry: RunEntry, first: datetime) -> None:
        """Makes the row of a parked run's waiter anew: without it nobody would hand it a slot.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        announced = entry.announcement
        waiter = waiter_columns(
            announced.execution_id, priority=0, first=first, newcomer=announced.trigger
        )
        same = Merge(run_key(announced.execution_id), {}, entry.etag)
        try:
            await self._zones.commit(queue, [same, Upsert(entry.wait or "", waiter)])
        except ConflictingWrite:
            return

    async def hand_over(self, queue: str) -> AsyncGenerator[HandedOver]:
        """Grants free slots to those that wait, one by one, for as long as there are both.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        for pause in pauses():
            look = await self.look(queue)
            if not look.waiters or not look.free:
                return
            granted = await self._grant_waiter(queue, look)
            if granted is None:
                await asyncio.sleep(pause)
                continue
            yield granted
            if len(look.waiters) == 1 or len(look.free) == 1:
                return

    async def _grant_waiter(self, queue: str, look: Look) -> HandedOver | None:
        line = sorted(look.waiters, key=lambda row: (-int(str(row.values["priority"])), row.key))
        # Each of so many gets a slot now. Of runs that end together each takes one to itself:
        # were all to begin with the first, one would win, and the others would look again.
        waiter = random.choice(line[: len(look.free)])
        execution_id = ExecutionId(str(waiter.values["execution_id"]))
        slot = random.choice(look.free)
        now = self._clock.now()
        try:
            etags = await self._zones.commit(
                queue,
                [
                    Insert(slot, slot_columns(execution_id, now)),
                    Delete(waiter.key, waiter.etag),
                    Merge(run_key(execution_id), placed(Place.ACTIVE, now, slot=slot), None),
                ],
            )
        except ConflictingWrite as error:
            if error.index == _RUN_ROW:  # nobody's: it would block the head of the line
                await self._holdings.remove(queue, [Delete(waiter.key, waiter.etag)])
            return None
        return HandedOver(execution_id, Granted(slot, etags[0]))
