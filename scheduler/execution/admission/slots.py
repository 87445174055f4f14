"""A zone's slots and waiters, as they are read and granted: plain data, no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduler.dispatch.control import ControlState
from scheduler.dispatch.ids import ExecutionId, Trigger
from scheduler.storage.tables import Row, Value

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


def slot_columns(execution_id: ExecutionId, now: datetime) -> dict[str, Value]:
    """The values of a slot's row: who holds it, and since when."""
    return {"v": 1, "execution_id": execution_id, "since": now}


class Moved(Exception):
    """A row of the run is of another version than was thought: read it, and think again."""


def waiter_columns(
    execution_id: ExecutionId, *, priority: int, first: datetime, newcomer: Trigger | None
) -> dict[str, Value]:
    """The values of a waiter's row: `first` is the instant it came, `newcomer` says why a run
    exists that has not started yet."""
    return {
        "v": 1,
        "execution_id": execution_id,
        "priority": priority,
        "since": first,
        "newcomer": newcomer or "",
    }


def is_waiter(row: Row) -> bool:
    """Whether a waiter's row can be worked with: one that cannot would block the line."""
    values = row.values
    newcomer = values.get("newcomer") or ""
    return (
        slot_holder(row) != ""
        and isinstance(values.get("priority"), int)
        and (newcomer == "" or newcomer in list(Trigger))
    )


def may_start(waiter: Row, state: ControlState) -> bool:
    """Whether the control word lets a waiter start, by its row."""
    newcomer = str(waiter.values.get("newcomer") or "")
    return newcomer == "" or state.admits(Trigger(newcomer))
