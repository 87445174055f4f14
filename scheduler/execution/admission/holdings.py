"""What a run holds in its zone: a slot, a place in line, its `run:` row; and how it lets go."""

import asyncio
from collections.abc import Sequence

from scheduler.clock import Clock
from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.run_index import Place, RunEntry, entry_of, placed, run_key
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.admission.slots import (
    SLOT_PREFIX,
    Granted,
    Moved,
    slot_columns,
    slot_holder,
)
from scheduler.storage.contention import pauses
from scheduler.storage.tables import Delete, Merge, Replace, Table


class Holdings:
    """Reads and gives back what a run holds; `queue` is the zone's partition everywhere."""

    def __init__(self, zones: Table, clock: Clock) -> None:
        self._zones = zones
        self._clock = clock

    async def held(self, queue: str, execution_id: ExecutionId, slot: str) -> Granted | None:
        """Whether a run holds this slot, read from the slot's own row.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._zones.get(queue, slot)
        if row is None or slot_holder(row) != execution_id:
            return None
        return Granted(slot, row.etag)

    async def keep(self, queue: str, execution_id: ExecutionId, held: Granted) -> Granted:
        """Writes a slot anew that a run is about to use: whoever was about to give it back, and
        stalled, no longer can.

        Raises:
            Moved: the slot has been given back, or kept by another.
            StorageUnavailable: storage cannot be reached.
        """
        try:
            etags = await self._zones.commit(
                queue,
                [Replace(held.slot, slot_columns(execution_id, self._clock.now()), held.etag)],
            )
        except ConflictingWrite:
            raise Moved from None
        return Granted(held.slot, etags[0])

    async def leave(self, queue: str, execution_id: ExecutionId, granted: Granted | None) -> None:
        """Removes what a finished run has in its zone: the slot that it knows of, its `run:` row.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if granted is not None:
            own = [Delete(run_key(execution_id), None), Delete(granted.slot, granted.etag)]
            if await self.remove(queue, own):
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
            if not changes or await self.remove(queue, changes):
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
        return await self.remove(queue, changes)

    async def leave_slots(self, queue: str, execution_id: ExecutionId) -> None:
        """Removes every slot row of a run that is over: however it came to be left.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        async for row in self._zones.query(queue, SLOT_PREFIX, "slot;"):
            if slot_holder(row) == execution_id:
                await self.remove(queue, [Delete(row.key, row.etag)])

    async def remove(self, queue: str, changes: Sequence[Delete]) -> bool:
        """Removes rows of a zone if all are as they were read; whether they were.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
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
