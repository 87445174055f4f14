"""The control word: whether runs may start. One row for all, and a mark in each zone while not.

A start reads its zone's slots anyway, and finds the mark among them: obeying costs nothing.
"""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import Trigger
from scheduler.storage.account import Storage
from scheduler.storage.contention import pauses
from scheduler.storage.tables import Row, Upsert
from scheduler.storage.values import optional_text

ZONE_STATE = "state"
"""The row key of a zone's mark; it sorts between the zone's slots and its waiters."""
PARTITION = "control"
WORD_KEY = "state"


class ControlState(StrEnum):
    """Whether runs may start: all, none that the schedule asks for, or none at all."""

    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"

    def admits(self, trigger: Trigger) -> bool:
        """Whether a run that came about in this way may start."""
        match self:
            case ControlState.RUNNING:
                return True
            case ControlState.PAUSED:
                return trigger is not Trigger.SCHEDULE
            case ControlState.STOPPED:
                return False


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlWord:
    """The word, why it was said, when and by whom; as it is before anybody said one: running."""

    state: ControlState = ControlState.RUNNING
    note: str | None = None
    changed_at: datetime | None = None
    changed_by: str | None = None


def zone_state(row: Row) -> ControlState:
    """What a zone's mark says."""
    return _state(str(row.values.get("state")))


def word_of(row: Row | None) -> ControlWord:
    """What the row of the word says; where nobody has said one yet: running."""
    if row is None:
        return ControlWord()
    changed_at = row.values.get("changed_at")
    return ControlWord(
        state=_state(str(row.values.get("state"))),
        note=optional_text(row.values.get("note")),
        changed_at=changed_at if isinstance(changed_at, datetime) else None,
        changed_by=optional_text(row.values.get("changed_by")),
    )


class Control:
    """Reads and writes the word.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(self, storage: Storage, dispatcher: Dispatcher, clock: Clock) -> None:
        self._control = storage.control
        self._zones = storage.zones
        self._dispatcher = dispatcher
        self._clock = clock

    async def read(self) -> ControlWord:
        """The word as it stands."""
        return word_of(await self._control.get(PARTITION, WORD_KEY))

    async def write(self, state: ControlState, note: str | None, changed_by: str) -> ControlWord:
        """Says the word. It reaches the starts once the zones are marked with it.

        The same word once more, without a note, changes nothing.
        """
        before = await self.read()
        if before.state is state and note is None and before.changed_at is not None:
            return before
        word = ControlWord(
            state=state, note=note, changed_at=self._clock.now(), changed_by=changed_by
        )
        row = Upsert(
            WORD_KEY,
            {
                "v": 1,
                "state": state,
                "note": note or "",
                "changed_at": word.changed_at,
                "changed_by": changed_by,
            },
        )
        await self._control.commit(PARTITION, [row])
        return word

    async def mark_zones(self) -> None:
        """Marks every zone in use with the word; what a crash leaves out, upkeep marks."""
        queues = [zone.queue async for zone in self._dispatcher.zones_in_use()]
        await asyncio.gather(*map(self.mark, queues))

    async def mark(self, queue: str) -> None:
        """Marks a zone with the word as it stands, or takes its mark away.

        Two that mark with different words at once end with the later one, since each looks at the
        word again once it has marked.
        """
        state = (await self.read()).state
        for pause in pauses():
            await self._mark(queue, state)
            now = (await self.read()).state
            if now is state:
                return
            state = now
            await asyncio.sleep(pause)

    async def _mark(self, queue: str, state: ControlState) -> None:
        if state is not ControlState.RUNNING:
            await self._zones.commit(queue, [Upsert(ZONE_STATE, {"v": 1, "state": state})])
            return
        await self._zones.remove(queue, [ZONE_STATE])


def _state(text: str) -> ControlState:
    """The word that a row holds. One that only a later version knows keeps everything still."""
    try:
        return ControlState(text)
    except ValueError:
        return ControlState.STOPPED
