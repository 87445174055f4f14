"""When the zone data changes, every due row is derived again: page by page, over several calls.

While a new version is being deployed, instances with old data go on moving rows. So the rows are
gone through until a whole pass, begun some minutes after the first, finds none that is old.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.ids import SHARDS
from scheduler.jobs.due import DUE_PREFIX, Due, due_of
from scheduler.schedule.due_rows import DueRow, DueRows
from scheduler.schedule.plan import derived_again
from scheduler.schedule.zones import tzdata_version
from scheduler.storage.keys import after
from scheduler.storage.tables import Row, Table, Upsert, Value
from scheduler.storage.values import instant
from scheduler.telemetry import get_logger

log = get_logger(__name__)
ROWS_A_CALL = 5_000
DEPLOYED_AFTER = timedelta(minutes=10)
"""How long after the first pass began another version is taken to be gone."""
LOOKS_AGAIN = timedelta(hours=1)
_PARTITION = "control"
_KEY = "tzdata"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """How far the rows have been gone through: on in `shard`, beyond the row key `beyond`.

    `since`: when the first pass of this version began; `begun`: when this one did; `clean`: it has
    found no old row so far.
    """

    version: str
    since: datetime
    begun: datetime
    shard: str = SHARDS[0]
    beyond: str = ""
    clean: bool = True
    done: bool = False


class ZoneData:
    """Looks after the due rows that were derived by other zone data than this process has."""

    def __init__(self, jobs: Table, rows: DueRows, control: Table, clock: Clock) -> None:
        self._jobs = jobs
        self._rows = rows
        self._control = control
        self._clock = clock
        self._looks_again_at = datetime.min.replace(tzinfo=UTC)

    async def run(self) -> int:
        """Goes through up to 5,000 due rows, from where it last stopped; how many it changed.

        Once all rows are of this process's version, it looks each hour whether that is still so.

        Raises:
            StorageUnavailable: storage cannot be reached; the next call goes on.
        """
        now = self._clock.now()
        if now < self._looks_again_at:
            return 0
        current = await self._read()
        version = tzdata_version()
        if current is None or current.version < version:
            current = Pass(version=version, since=now, begun=now)
        elif current.version > version:
            # Here is one that makes old rows still: the passes are not over.
            await self._write(Pass(version=current.version, since=now, begun=now))
            return 0
        if current.done:
            self._looks_again_at = now + LOOKS_AGAIN
            return 0
        changed, current = await self._go_on(current)
        await self._write(current)
        if changed:
            extra = {"action": "due_rows_derived_again", "count": changed}
            log.info("due rows were derived again", extra=extra)
        return changed

    async def _go_on(self, current: Pass) -> tuple[int, Pass]:
        room, changed = ROWS_A_CALL, 0
        for shard in SHARDS[SHARDS.index(current.shard) :]:
            goes_on = shard == current.shard and current.beyond
            start = f"{current.beyond}\x01" if goes_on else DUE_PREFIX
            rows = self._jobs.query(shard, start, after(DUE_PREFIX), limit=room)
            found = [row async for row in rows]
            changed += await self._derive(shard, found)
            room -= len(found)
            if room <= 0:
                clean = current.clean and not changed
                return changed, replace(current, shard=shard, beyond=found[-1].key, clean=clean)
        return changed, self._at_end(current, clean=current.clean and not changed)

    def _at_end(self, current: Pass, *, clean: bool) -> Pass:
        if clean and current.begun - current.since >= DEPLOYED_AFTER:
            return replace(current, done=True)
        return Pass(version=current.version, since=current.since, begun=self._clock.now())

    async def _derive(self, shard: str, rows: Sequence[Row]) -> int:
        """Derives the old ones of some rows again; how many they were."""
        now = self._clock.now()
        moves: list[tuple[DueRow, Due | None]] = []
        for row in rows:
            try:
                due = due_of(row)
                fresh = derived_again(due, now)
            except Exception:
                # The tick meets it when it falls due, and tells what is wrong with it.
                log.exception("a due row cannot be derived", extra={"action": "due_row_unreadable"})
                continue
            if fresh != due:
                moves.append((DueRow(due, row.etag), fresh))
        # One that is moved by another meanwhile counts as well: the next pass looks at it again.
        await self._rows.move(shard, moves)
        return len(moves)

    async def _read(self) -> Pass | None:
        row = await self._control.get(_PARTITION, _KEY)
        if row is None:
            return None
        values = row.values
        return Pass(
            version=str(values["version"]),
            since=instant(values["since"]),
            begun=instant(values["begun"]),
            shard=str(values["shard"]),
            beyond=str(values["beyond"]),
            clean=bool(values["clean"]),
            done=bool(values["done"]),
        )

    async def _write(self, current: Pass) -> None:
        values: dict[str, Value] = {
            "v": 1,
            "version": current.version,
            "since": current.since,
            "begun": current.begun,
            "shard": current.shard,
            "beyond": current.beyond,
            "clean": current.clean,
            "done": current.done,
        }
        await self._control.commit(_PARTITION, [Upsert(_KEY, values)])
