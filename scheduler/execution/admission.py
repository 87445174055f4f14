"""At most so many executions of a zone at once: slots, and the runs parked until one is free.

Insert the wait row, *then* look at the slots again; free a slot, *then* look at the waiters: of two
that pass each other, one always sees the other, so no run is left waiting beside a free slot.
"""

import asyncio
import random
from collections.abc import Sequence
from datetime import datetime

from scheduler.clock import Clock
from scheduler.dispatch.control import ZONE_STATE, ControlState, zone_state
from scheduler.dispatch.ids import ExecutionId, Trigger
from scheduler.dispatch.run_index import Place, RunEntry, entry_of, placed, run_key
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.slots import (
    SLOT_PREFIX,
    WAIT_PREFIX,
    WAITS_END,
    Granted,
    HandedOver,
    Look,
    Moved,
    may_start,
    slot_holder,
)
from scheduler.settings import Settings
from scheduler.storage.contention import pauses
from scheduler.storage.keys import sortable
from scheduler.storage.tables import Delete, Insert, Merge, Row, Table, Upsert, Value

_WAITERS_SEEN = 8
_RUN_ROW = 2
"""The place of the `run:` row in the transaction that grants a slot to a waiter."""


class Admission:
    """Grants and takes back the slots of a zone; `queue` is the zone's partition everywhere."""

    def __init__(self, zones: Table, settings: Settings, clock: Clock) -> None:
        self._zones = zones
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
            else:
                waiters.append(row)
        if state is not ControlState.RUNNING:
            waiters = await self._admitted_waiters(queue, state)
        free = [slot for slot in slots if slot not in taken] if len(taken) < self._limit else []
        return Look(free, waiters[:_WAITERS_SEEN], state)

    async def _admitted_waiters(self, queue: str, state: ControlState) -> list[Row]:
        """The waiters that may start although not all may."""
        rows = self._zones.query(queue, WAIT_PREFIX, WAITS_END)
        return [row async for row in rows if may_start(row, state)]

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
                        Insert(slot, {"v": 1, "execution_id": execution_id, "since": now}),
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
        waiter: dict[str, Value] = {
            "v": 1,
            "execution_id": execution_id,
            "priority": priority,
            "since": first,
            "newcomer": newcomer or "",
        }
        try:
            await self._zones.commit(
                queue, [Merge(run_key(execution_id), columns, run_etag), Upsert(key, waiter)]
            )
        except ConflictingWrite:
            raise Moved from None

    async def hand_over(self, queue: str) -> list[HandedOver]:
        """Grants free slots to those that wait, for as long as there are both.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        handed: list[HandedOver] = []
        for pause in pauses():
            look = await self.look(queue)
            if not look.waiters or not look.free:
                break
            granted = await self._grant_waiter(queue, look)
            if granted is None:
                await asyncio.sleep(pause)
                continue
            handed.append(granted)
            if len(look.waiters) == 1 or len(look.free) == 1:
                break
        return handed

    async def _grant_waiter(self, queue: str, look: Look) -> HandedOver | None:
        waiter = min(look.waiters, key=lambda row: (-int(str(row.values["priority"])), row.key))
        execution_id = ExecutionId(str(waiter.values["execution_id"]))
        slot = random.choice(look.free)
        now = self._clock.now()
        try:
            etags = await self._zones.commit(
                queue,
                [
                    Insert(slot, {"v": 1, "execution_id": execution_id, "since": now}),
                    Delete(waiter.key, waiter.etag),
                    Merge(run_key(execution_id), placed(Place.ACTIVE, now, slot=slot), None),
                ],
            )
        except ConflictingWrite as error:
            if error.index == _RUN_ROW:  # nobody's: it would block the head of the line
                await self._removed(queue, [Delete(waiter.key, waiter.etag)])
            return None
        return HandedOver(execution_id, Granted(slot, etags[0]))

    async def held(self, queue: str, execution_id: ExecutionId, slot: str) -> Granted | None:
        """Whether a run holds this slot, read from the slot's own row.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._zones.get(queue, slot)
        if row is None or slot_holder(row) != execution_id:
            return None
        return Granted(slot, row.etag)

    async def leave(self, queue: str, execution_id: ExecutionId, granted: Granted | None) -> None:
        """Removes what a finished run has in its zone: the slot that it knows of, its `run:` row.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if granted is not None:
            own = [Delete(run_key(execution_id), None), Delete(granted.slot, granted.etag)]
            if await self._removed(queue, own):
                return
        await self.leave_all(queue, execution_id, granted)

    async def leave_all(
        self, queue: str, execution_id: ExecutionId, granted: Granted | None = None
    ) -> None:
        """Removes all that a run has in a zone, as its rows are now; what is another's stays.

        Raises:
            StorageUnavailable: storage cannot be reached, or its rows change all the time.
        """
        for pause in pauses():
            row = await self._zones.get(queue, run_key(execution_id))
            entry = entry_of(row) if row is not None else None
            changes = [] if row is None else [Delete(row.key, row.etag)]
            slots = {granted.slot if granted else None, entry.slot if entry else None} - {None}
            for slot in slots:
                held = await self.held(queue, execution_id, slot or "")
                if held is not None:
                    changes.append(Delete(held.slot, held.etag))
            wait = await self._zones.get(queue, entry.wait) if entry and entry.wait else None
            if wait is not None:
                changes.append(Delete(wait.key, wait.etag))
            if not changes or await self._removed(queue, changes):
                return
            await asyncio.sleep(pause)
        raise StorageUnavailable(f"the rows of {execution_id} change all the time")

    async def unpark(self, queue: str, entry: RunEntry, place: Place) -> None:
        """Takes a run from among the waiters, to wait elsewhere; one that has moved on stays.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        columns = placed(place, self._clock.now())
        changes = [Merge(run_key(entry.announcement.execution_id), columns, entry.etag)]
        waiter = await self._zones.get(queue, entry.wait) if entry.wait else None
        try:
            await self._zones.commit(
                queue, [*changes, *([Delete(waiter.key, waiter.etag)] if waiter else [])]
            )
        except ConflictingWrite:
            return

    async def forget(self, queue: str, entry: RunEntry) -> bool:
        """Removes what a run has that is not to be, if its `run:` row is as it was read.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        execution_id = entry.announcement.execution_id
        changes = [Delete(run_key(execution_id), entry.etag)]
        held = await self.held(queue, execution_id, entry.slot) if entry.slot else None
        if held is not None:
            changes.append(Delete(held.slot, held.etag))
        return await self._removed(queue, changes)

    async def leave_slots(self, queue: str, execution_id: ExecutionId) -> None:
        """Removes every slot row of a run that is over: however it came to be left.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        async for row in self._zones.query(queue, SLOT_PREFIX, "slot;"):
            if slot_holder(row) == execution_id:
                await self._removed(queue, [Delete(row.key, row.etag)])

    async def _removed(self, queue: str, changes: Sequence[Delete]) -> bool:
        try:
            await self._zones.commit(queue, changes)
        except ConflictingWrite:
            return False
        return True

    async def rest(
        self,
        queue: str,
        execution_id: ExecutionId,
        granted: Granted,
        place: Place = Place.SLEEPING,
    ) -> None:
        """Gives a slot back for a run that sleeps, or queues; its next message asks for one again.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        columns = placed(place, self._clock.now())
        try:
            await self._zones.commit(
                queue,
                [Merge(run_key(execution_id), columns, None), Delete(granted.slot, granted.etag)],
            )
        except ConflictingWrite:
            return
