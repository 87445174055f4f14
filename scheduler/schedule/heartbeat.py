"""When the tick last ran: what readiness and status look at."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from scheduler.storage.tables import Row, Table, Upsert
from scheduler.storage.values import instant, number

_PARTITION = "control"
TICK_KEY = "tick"
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Beat:
    """A finished tick: when it began, how many runs it announced, how long it took (seconds).

    `lateness_seconds`: how long after the minute began that was the next one to tick.
    """

    at: datetime
    announced: int
    duration_seconds: float
    lateness_seconds: float = 0.0


def lateness(began: datetime, last: Beat | None) -> float:
    """How late a tick is, in seconds: by its own minute, or by the first one that was missed."""
    due = began.replace(second=0, microsecond=0)
    if last is not None:
        due = min(due, last.at.replace(second=0, microsecond=0) + _MINUTE)
    return (began - due).total_seconds()


def beat_of(row: Row) -> Beat:
    """Reads the row of the heartbeat."""
    return Beat(
        instant(row.values["at"]),
        number(row.values["announced"]),
        float(str(row.values["duration_seconds"])),
        float(str(row.values.get("lateness_seconds") or 0)),
    )


class Heartbeat:
    """One row in the Control table."""

    def __init__(self, control: Table) -> None:
        self._control = control

    async def beat(self, beat: Beat) -> None:
        """Notes a finished tick.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = Upsert(
            TICK_KEY,
            {
                "v": 1,
                "at": beat.at,
                "announced": beat.announced,
                "duration_seconds": float(beat.duration_seconds),
                "lateness_seconds": float(beat.lateness_seconds),
            },
        )
        await self._control.commit(_PARTITION, [row])

    async def last(self) -> Beat | None:
        """The last finished tick, or None before the first.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._control.get(_PARTITION, TICK_KEY)
        return None if row is None else beat_of(row)
