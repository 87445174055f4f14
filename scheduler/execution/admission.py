"""At most so many executions of a zone at once: slots, and the runs parked until one is free.

Insert the wait row, *then* look at the slots again; free a slot, *then* look at the waiters: of two
that pass each other, one always sees the other, so no run is left waiting beside a free slot.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduler.clock import Clock
from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.run_index import Place, placed, run_key
from scheduler.errors import ConflictingWrite
from scheduler.settings import Settings
from scheduler.storage.keys import sortable
from scheduler.storage.tables import Delete, Insert, Merge, Row, Table, Upsert, Value

SLOT_PREFIX = "slot:"
WAIT_PREFIX = "wait:"
_WAITERS_SEEN = 8
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Granted:
    """A slot that a run now holds; `etag` is the slot row's."""

    slot: str
    etag: str


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A parked run that got a slot: its start has to be sent."""

    execution_id: ExecutionId
    granted: Granted


@dataclass(frozen=True, slots=True)
class Look:
    """What a zone's slots and waiters are right now."""

    free: Sequence[str]
    waiters: Sequence[Row]


class Moved(Exception):
    """The `run:` row is of another version than was thought: read it, and think again."""


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
        async for row in self._zones.query(queue, SLOT_PREFIX, "wait;", limit=100 + _WAITERS_SEEN):
            if row.key.startswith(SLOT_PREFIX):
                taken.add(row.key)
            else:
                waiters.append(row)
        free = [slot for slot in slots if slot not in taken] if len(taken) < self._limit else []
        return Look(free, waiters[:_WAITERS_SEEN])

    async def grant(
        self, queue: str, execution_id: ExecutionId, run_etag: str, look: Look
    ) -> Granted | None:
        """Takes a free slot for a newcomer; None when there is none, or others wait.

        Raises:
            Moved: the run's row is not of the version `run_etag`.
            StorageUnavailable: storage cannot be reached.
        """
        for _ in range(_TRIES):
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
                look = await self.look(queue)
                continue
            return Granted(slot, etags[0])
        return None

    async def park(
        self, queue: str, execution_id: ExecutionId, run_etag: str, first: datetime, priority: int
    ) -> None:
        """Puts a run among the waiters, in the order of `first`, the instant it came.

        Raises:
            Moved: the run's row is not of the version `run_etag`.
            StorageUnavailable: storage cannot be reached.
        """
        key = f"{WAIT_PREFIX}{sortable(first)}:{execution_id}"
        columns = placed(Place.WAITING, self._clock.now(), wait=key)
        waiter: dict[str, Value] = {
            "v": 1,
            "execution_id": execution_id,
            "priority": priority,
            "since": first,
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
        for _ in range(_TRIES + self._limit):
            look = await self.look(queue)
            if not look.waiters or not look.free:
                break
            granted = await self._grant_waiter(queue, look)
            if granted is not None:
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
                    Upsert(run_key(execution_id), placed(Place.ACTIVE, now, slot=slot)),
                ],
            )
        except ConflictingWrite:
            return None
        return HandedOver(execution_id, Granted(slot, etags[0]))

    async def held(self, queue: str, execution_id: ExecutionId, slot: str) -> Granted | None:
        """Whether a run holds this slot, read from the slot's own row.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._zones.get(queue, slot)
        if row is None or row.values["execution_id"] != execution_id:
            return None
        return Granted(slot, row.etag)

    async def leave(
        self, queue: str, execution_id: ExecutionId, granted: Granted | None, wait: str | None
    ) -> None:
        """Removes all that a finished run has in its zone: slot, wait row, `run:` row.

        What is gone already, or is another's by now, is left alone.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        changes = [Delete(run_key(execution_id), None)]
        if granted is not None:
            changes.append(Delete(granted.slot, granted.etag))
        if wait is not None:
            changes.append(Delete(wait, None))
        try:
            await self._zones.commit(queue, changes)
        except ConflictingWrite:
            for change in reversed(changes):
                await self._remove(queue, change)

    async def _remove(self, queue: str, change: Delete) -> None:
        try:
            await self._zones.commit(queue, [change])
        except ConflictingWrite:
            return

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
                [Upsert(run_key(execution_id), columns), Delete(granted.slot, granted.etag)],
            )
        except ConflictingWrite:
            return
