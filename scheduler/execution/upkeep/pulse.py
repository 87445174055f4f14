"""What the Control table tells of all: the control word, last tick and upkeep, age of the totals.

They stand side by side, so that one query reads them.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scheduler.dispatch.control import PARTITION, WORD_KEY, ControlWord, word_of
from scheduler.schedule.heartbeat import TICK_KEY, Beat, beat_of
from scheduler.storage.tables import Row, Table, Upsert
from scheduler.storage.values import instant, number, optional_instant, optional_text
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_COUNTED_KEY = "totals"
_UPKEEP_KEY = "upkeep"


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where an upkeep stopped whose time was over.

    `beyond`: of zones that it did not get through, by queue, the last row key that it looked at;
    `next_zone`: the first queue that it did not begin with.
    """

    beyond: Mapping[str, str] = field(default_factory=dict)
    next_zone: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpkeepBeat:
    """A finished upkeep: when it began, how long it took (seconds), and what it saw.

    `unfinished` runs; starts `overdue` by over five minutes, the longest of them in
    `overdue_zone`; rows that were `put_aside`; rows `of_later_version`, left alone; `zones_left`
    that it did not get through. Whatever ended before `told_before` stands in the list of its day.
    """

    at: datetime
    duration_seconds: float = 0.0
    unfinished: int = 0
    overdue: int = 0
    overdue_zone: str | None = None
    put_aside: int = 0
    of_later_version: int = 0
    zones_left: int = 0
    cursor: Cursor = field(default_factory=Cursor)
    told_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pulse:
    """The control word, and the last tick and upkeep; None before the first.

    `counted_through`: the instant as of which the totals of all jobs are.
    """

    word: ControlWord
    tick: Beat | None
    upkeep: UpkeepBeat | None
    counted_through: datetime | None = None


class Pulses:
    """Reads them all, and writes the last two.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(self, control: Table) -> None:
        self._control = control

    async def read(self) -> Pulse:
        """All as they stand; a heartbeat that cannot be read counts as none."""
        rows = self._control.query(PARTITION, WORD_KEY, f"{_UPKEEP_KEY}!")
        found = {row.key: row async for row in rows}
        return Pulse(
            word_of(found.get(WORD_KEY)),
            _read(beat_of, found.get(TICK_KEY)),
            _read(_upkeep_beat_of, found.get(_UPKEEP_KEY)),
            _read(_counted_of, found.get(_COUNTED_KEY)),
        )

    async def note_counted(self, through: datetime) -> None:
        """Notes that the totals have all in them that ended up to an instant."""
        await self._control.commit(PARTITION, [Upsert(_COUNTED_KEY, {"v": 1, "through": through})])

    async def note_upkeep(self, beat: UpkeepBeat) -> None:
        """Notes a finished upkeep."""
        cursor = {"beyond": dict(beat.cursor.beyond), "next_zone": beat.cursor.next_zone}
        row = Upsert(
            _UPKEEP_KEY,
            {
                "v": 1,
                "at": beat.at,
                "duration_seconds": float(beat.duration_seconds),
                "unfinished": beat.unfinished,
                "overdue": beat.overdue,
                "overdue_zone": beat.overdue_zone or "",
                "put_aside": beat.put_aside,
                "of_later_version": beat.of_later_version,
                "zones_left": beat.zones_left,
                "cursor": json.dumps(cursor, separators=(",", ":")),
                "told_before": beat.told_before,
            },
        )
        await self._control.commit(PARTITION, [row])


def _read[T](read: Callable[[Row], T], row: Row | None) -> T | None:
    if row is None:
        return None
    try:
        return read(row)
    except (KeyError, TypeError, ValueError):
        log.exception("a heartbeat cannot be read", extra={"action": "heartbeat_unreadable"})
        return None


def _upkeep_beat_of(row: Row) -> UpkeepBeat:
    values = row.values
    cursor = json.loads(str(values.get("cursor") or "{}"))
    return UpkeepBeat(
        at=instant(values["at"]),
        duration_seconds=float(str(values.get("duration_seconds") or 0)),
        unfinished=number(values.get("unfinished")),
        overdue=number(values.get("overdue")),
        overdue_zone=optional_text(values.get("overdue_zone")),
        put_aside=number(values.get("put_aside")),
        of_later_version=number(values.get("of_later_version")),
        zones_left=number(values.get("zones_left")),
        cursor=Cursor(dict(cursor.get("beyond") or {}), str(cursor.get("next_zone") or "")),
        told_before=optional_instant(values.get("told_before")),
    )


def _counted_of(row: Row) -> datetime:
    return instant(row.values["through"])
