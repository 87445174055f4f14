"""A zone's slots and waiters, as they are read and granted: plain data, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass

from scheduler.dispatch.control import ControlState
from scheduler.dispatch.ids import ExecutionId, Trigger
from scheduler.storage.tables import Row

SLOT_PREFIX = "slot:"
WAIT_PREFIX = "wait:"
WAITS_END = "wait;"


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
    """A zone right now: its free slots, the first waiters that may start, the control word."""

    free: Sequence[str]
    waiters: Sequence[Row]
    state: ControlState = ControlState.RUNNING


def slot_holder(row: Row) -> ExecutionId:
    """The run that holds a slot, by the slot's row; "" where that does not say."""
    return ExecutionId(str(row.values.get("execution_id") or ""))


class Moved(Exception):
    """A row of the run is of another version than was thought: read it, and think again."""


def may_start(waiter: Row, state: ControlState) -> bool:
    """Whether the control word lets a waiter start, by its row."""
    newcomer = str(waiter.values.get("newcomer") or "")
    return newcomer == "" or state.admits(Trigger(newcomer))
