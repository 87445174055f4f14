"""The `run:` rows: one for every unfinished run, in its zone's partition of the Zones table.

They are the only index of unfinished work: upkeep finds what has a row here, whatever crashed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from scheduler.dispatch.ids import ExecutionId, Trigger, scheduled_id
from scheduler.errors import ConflictingWrite
from scheduler.storage.keys import after
from scheduler.storage.tables import MAX_CHANGES, Merge, Row, Table, Upsert, Value
from scheduler.storage.values import instant, number, optional_instant, optional_text

PREFIX = "run:"
VERSION = 1


class Place(StrEnum):
    """How far a run has come: announced, waiting for a slot or its turn, or holding a slot.

    A held one waits for the control word to let it start.
    """

    ARRIVING = "arriving"
    WAITING = "waiting"
    QUEUED = "queued"
    SLEEPING = "sleeping"
    HELD = "held"
    ACTIVE = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """A run that is about to be: what its start needs to know.

    `due` is when it may start (jitter included), `scheduled` its nominal instant. With
    `skip_reason` it only records that `skip_count` runs were given up.
    """

    execution_id: ExecutionId
    timezone: str
    trigger: Trigger
    scheduled: datetime
    due: datetime
    revision: str | None = None
    skip_reason: str | None = None
    skip_count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEntry:
    """A `run:` row as it stands: the announcement, when it was last made, and where the run is.

    `sends` counts how often upkeep sent its message again; a parked run has its `deadline` here.
    """

    announcement: Announcement
    place: Place
    announced: datetime
    since: datetime
    slot: str | None
    wait: str | None
    etag: str
    sends: int = 0
    deadline: datetime | None = None


def run_key(execution_id: ExecutionId) -> str:
    """The row key of a run's row."""
    return f"{PREFIX}{execution_id}"


def placed(
    place: Place, now: datetime, *, slot: str | None = None, wait: str | None = None
) -> dict[str, Value]:
    """The columns that say where a run is; merged over the announcement's.

    What was sent in vain before counts no more: patience begins anew.
    """
    return {"place": place, "since": now, "slot": slot or "", "wait": wait or "", "sends": 0}


def entry_of(row: Row) -> RunEntry:
    """Reads a `run:` row. One that was announced and not yet received has no place."""
    values = row.values
    announced = instant(values["announced"])
    return RunEntry(
        announcement=Announcement(
            execution_id=ExecutionId(row.key.removeprefix(PREFIX)),
            timezone=str(values["timezone"]),
            trigger=Trigger(str(values["trigger"])),
            scheduled=instant(values["scheduled"]),
            due=instant(values["due"]),
            revision=optional_text(values.get("revision")),
            skip_reason=optional_text(values.get("skip_reason")),
            skip_count=number(values.get("skip_count")),
        ),
        place=Place(str(values.get("place") or Place.ARRIVING)),
        announced=announced,
        since=instant(values.get("since") or announced),
        slot=optional_text(values.get("slot")),
        wait=optional_text(values.get("wait")),
        etag=row.etag,
        sends=number(values.get("sends")),
        deadline=optional_instant(values.get("deadline")),
    )


def is_of_later_version(row: Row) -> bool:
    """Whether a later version of the app wrote a row of the Zones table: not ours to judge."""
    version = row.values.get("v")
    return isinstance(version, int) and version > VERSION


class RunIndex:
    """Reads and writes `run:` rows; `zone_queue` is the partition everywhere."""

    def __init__(self, zones: Table) -> None:
        self._zones = zones

    async def announce(
        self, zone_queue: str, announcements: Sequence[Announcement], now: datetime
    ) -> list[str]:
        """Makes, or makes again, the rows of up to 100 runs; returns their ETags.

        A row that is there keeps its place: announcing twice harms nothing.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        if len(announcements) > MAX_CHANGES:
            raise ValueError(f"at most {MAX_CHANGES} announcements at a time")
        changes = [
            Upsert(run_key(announcement.execution_id), _columns(announcement, now))
            for announcement in announcements
        ]
        return await self._zones.commit(zone_queue, changes)

    async def restore(
        self, zone_queue: str, announcement: Announcement, slot: str, now: datetime
    ) -> None:
        """Makes the row of a run anew that holds this slot.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        columns = _columns(announcement, now) | placed(Place.ACTIVE, now, slot=slot)
        row = Upsert(run_key(announcement.execution_id), columns)
        await self._zones.commit(zone_queue, [row])

    async def get(self, zone_queue: str, execution_id: ExecutionId) -> RunEntry | None:
        """Reads one row, or None.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._zones.get(zone_queue, run_key(execution_id))
        return None if row is None else entry_of(row)

    async def has(self, zone_queue: str, execution_id: ExecutionId) -> bool:
        """Whether there is a row of this run, be it readable or not.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        return await self._zones.get(zone_queue, run_key(execution_id)) is not None

    async def announced(
        self, zone_queue: str, job_id: str, first: datetime, last: datetime
    ) -> set[ExecutionId]:
        """The unfinished runs of a job with first ≤ instant of their id ≤ last.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        start = run_key(scheduled_id(job_id, first))
        end = after(run_key(scheduled_id(job_id, last)))
        rows = self._zones.query(zone_queue, start, end, select=["v"])
        return {ExecutionId(row.key.removeprefix(PREFIX)) async for row in rows}

    async def of_job(self, zone_queue: str, job_id: str) -> list[ExecutionId]:
        """The unfinished runs of a job in a zone.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        prefix = f"{PREFIX}{job_id}."
        rows = self._zones.query(zone_queue, prefix, after(prefix), select=["v"])
        return [ExecutionId(row.key.removeprefix(PREFIX)) async for row in rows]

    async def place(self, zone_queue: str, entry: RunEntry, place: Place, now: datetime) -> None:
        """Says where a run is that holds no slot and waits for none, if its row is as it was read.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        await self._merge(zone_queue, entry, placed(place, now))

    async def sent_again(self, zone_queue: str, entry: RunEntry, now: datetime) -> str | None:
        """Marks a row as sent again now; returns its ETag, None when it is not as it was read.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        again: dict[str, Value] = {"announced": now, "sends": entry.sends + 1, "since": entry.since}
        return await self._merge(zone_queue, entry, again)

    async def _merge(
        self, zone_queue: str, entry: RunEntry, values: dict[str, Value]
    ) -> str | None:
        """A merge that never makes a row: what is left of a run that is over must stay gone."""
        change = Merge(run_key(entry.announcement.execution_id), values, entry.etag)
        try:
            return (await self._zones.commit(zone_queue, [change]))[0]
        except ConflictingWrite:
            return None


def _columns(announcement: Announcement, now: datetime) -> dict[str, Value]:
    return {
        "v": VERSION,
        "timezone": announcement.timezone,
        "trigger": announcement.trigger,
        "scheduled": announcement.scheduled,
        "due": announcement.due,
        "announced": now,
        "revision": announcement.revision or "",
        "skip_reason": announcement.skip_reason or "",
        "skip_count": announcement.skip_count,
    }
