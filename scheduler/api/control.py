"""The use cases of the control word: read it, say it."""

import asyncio
from collections.abc import Mapping
from typing import Any

from scheduler.api.action_bodies import ControlBody
from scheduler.api.wire_model import read_model
from scheduler.dispatch.control import Control, ControlState, ControlWord
from scheduler.errors import StorageUnavailable
from scheduler.execution.upkeep.upkeep import Upkeep
from scheduler.schedule.tick import Tick
from scheduler.security.audit import AuditLog, Caller
from scheduler.telemetry import get_logger

log = get_logger(__name__)
RESUME_SECONDS = 20
"""How long a reply waits for the runs that a resumed scheduler starts; the timers go on."""
_MEANINGS = {
    ControlState.RUNNING: "runs start",
    ControlState.PAUSED: "no scheduled run starts; running work goes on, manual runs start",
    ControlState.STOPPED: "nothing starts; running work goes on",
}


class Controls:
    """Whether the scheduler starts runs, as its administrators see and set it."""

    def __init__(self, control: Control, tick: Tick, upkeep: Upkeep, audit: AuditLog) -> None:
        self._control = control
        self._tick = tick
        self._upkeep = upkeep
        self._audit = audit

    async def read(self) -> dict[str, Any]:
        """The control word, why it was said, when and by whom.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        return _document(await self._control.read())

    async def write(self, caller: Caller, body: Mapping[str, Any]) -> dict[str, Any]:
        """Says the word. Set to running, what was held starts at once, by each job's catch_up.

        Raises:
            InvalidRequest: another word, or another field.
            StorageUnavailable: storage cannot be reached.
        """
        asked = read_model(ControlBody, body, "the control word")
        by = caller.principal.id if caller.principal else ""
        word = await self._control.write(asked.state, asked.note, by)
        await self._audit.record(caller, "set_control", f"control:{word.state}")
        await self._control.mark_zones()
        if word.state is ControlState.RUNNING:
            await self._go_on()
        return _document(word)

    async def _go_on(self) -> None:
        """Does what the timers would do within a minute."""
        try:
            async with asyncio.timeout(RESUME_SECONDS):
                await self._upkeep.run()
                await self._tick.run()
        except (StorageUnavailable, TimeoutError):
            log.warning("the timers start what was held", extra={"action": "resume_delayed"})


def _document(word: ControlWord) -> dict[str, Any]:
    return {"message": f"{word.state}: {_MEANINGS[word.state]}", **control_document(word)}


def control_document(word: ControlWord) -> dict[str, Any]:
    """The JSON of the control word."""
    return {
        "state": word.state,
        "note": word.note,
        "changed_at": word.changed_at,
        "changed_by": word.changed_by,
    }
