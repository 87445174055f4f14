"""Erases what ended longer ago than executions are kept: day by day, the oldest first.

A day goes once all of it is old enough. What it has not got through in its time, the next call goes
on with: the entries in the list of a day go after the executions that are found by them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import batched

from scheduler.clock import Clock
from scheduler.dispatch.control import PARTITION
from scheduler.dispatch.ids import ExecutionKey, parse_execution_id
from scheduler.errors import StorageUnavailable
from scheduler.execution.history.days import execution_in, list_of_all, list_of_unsuccessful
from scheduler.execution.history.erasing import Erased, Eraser
from scheduler.execution.history.unused_definitions import SweepPlace, UnusedDefinitions
from scheduler.execution.store import ExecutionStore
from scheduler.execution.upkeep.pulse import Pulses
from scheduler.storage.at_once import at_once
from scheduler.storage.tables import Row, Table, Upsert, Value
from scheduler.telemetry import get_logger

log = get_logger(__name__)
LONGEST = timedelta(seconds=10)
"""No further job, and no further page of definitions, is begun with later in one call."""
_JOBS_AT_ONCE = 8
_ENTRIES_AT_ONCE = 1000
_KEY = "retention"
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """How far it has come: the next day to erase, None once all are, and how far through all
    definitions.

    `swept`: the day on which the definitions were last gone through; `place`: where in them the
    pass of that day goes on, None once it is over.
    """

    day: date | None = None
    swept: date | None = None
    place: SweepPlace | None = None


class Retention:
    """Erases executions, and definitions that nobody needs, after `keep`."""

    def __init__(
        self,
        *,
        days: Table,
        store: ExecutionStore,
        eraser: Eraser,
        unused: UnusedDefinitions,
        pulses: Pulses,
        control: Table,
        keep: timedelta,
        clock: Clock,
    ) -> None:
        self._days = days
        self._store = store
        self._eraser = eraser
        self._unused = unused
        self._pulses = pulses
        self._control = control
        self._keep = keep
        self._clock = clock
        self._rests_until = datetime.min.replace(tzinfo=UTC)

    async def run(self) -> int:
        """Goes on for some seconds, until all is erased that a day's change has made old.

        Returns how many executions it erased.

        Raises:
            StorageUnavailable: storage cannot be reached; the next call goes on.
        """
        began = self._clock.now()
        if began < self._rests_until:
            return 0
        until = began + LONGEST
        cursor = await self._read()
        last = await self._last_day()
        if last is None:
            return 0
        day, erased = await self._erase(cursor.day, last, until)
        cursor = await self._note(cursor, replace(cursor, day=day))
        swept = await self._sweep(cursor, until)
        await self._note(cursor, swept)
        if swept.place is None and day is None:
            self._rests_until = _midnight(began.date() + _ONE_DAY)
        return erased

    async def _last_day(self) -> date | None:
        """The last day that may be erased: what is not counted yet in the totals may not."""
        counted = (await self._pulses.read()).counted_through
        if counted is None:
            return None
        return min((self._clock.now() - self._keep).date(), counted.date()) - _ONE_DAY

    async def _erase(
        self, day: date | None, last: date, until: datetime
    ) -> tuple[date | None, int]:
        """Erases days, from the oldest where none is given: something may have been left there.

        Returns which comes next, None when all are done, and how many executions it erased.
        """
        erased = 0
        if day is None:
            day = await self._first_day()
        while day is not None and day <= last and self._clock.now() < until:
            count, done = await self._erase_day(day, until)
            erased += count
            if not done:
                break
            day += _ONE_DAY
        if erased:
            extra = {"action": "executions_erased", "count": erased}
            log.info("executions were erased after %d days", self._keep.days, extra=extra)
        return (day if day is not None and day <= last else None), erased

    async def _first_day(self) -> date | None:
        partition = await self._days.first_partition()
        return None if partition is None else date.fromisoformat(partition.rstrip("!"))

    async def _erase_day(self, day: date, until: datetime) -> tuple[int, bool]:
        """Erases what ended on a day or before, job by job; how many, and whether that is all."""
        before = _midnight(day + _ONE_DAY)
        erased, jobs = 0, dict[str, Erased]()
        token: str | None = ""
        while token is not None:
            if self._clock.now() >= until:
                return erased, False
            page = await self._days.page(
                list_of_all(day), "0", "~", select=["v"], limit=_ENTRIES_AT_ONCE, token=token
            )
            entries = _entries(page.rows)
            new = {one.job_id for one in entries.values()} - jobs.keys()
            for some in batched(sorted(new), _JOBS_AT_ONCE, strict=False):
                if self._clock.now() < until:
                    done = await self._erase_jobs(some, before, until)
                    erased += sum(one.count for one in done.values())
                    jobs |= done
            gone = [
                key for key, one in entries.items() if one.time < before and _is_gone(one, jobs)
            ]
            gone += await self._erase_planned_later(entries, before)
            await self._days.remove(list_of_all(day), gone)
            token = page.following
        if not all(one.complete for one in jobs.values()):
            return erased, False
        return erased, await self._clear_unsuccessful(day, until)

    async def _erase_jobs(
        self, job_ids: Sequence[str], before: datetime, until: datetime
    ) -> dict[str, Erased]:
        """Erases the old executions of some jobs; one at which our own code fails is left."""

        async def erase(job_id: str) -> Erased:
            try:
                return await self._eraser.erase_ended(job_id, before, until)
            except StorageUnavailable:
                raise
            except Exception:
                extra = {"action": "erasing_failed", "job_id": job_id}
                log.exception("the executions of %s cannot be erased", job_id, extra=extra)
                return Erased(failed=True, complete=True)

        return dict(zip(job_ids, await at_once(map(erase, job_ids)), strict=True))

    async def _erase_planned_later(
        self, entries: Mapping[str, ExecutionKey], before: datetime
    ) -> list[str]:
        """Erases those that ended before their instant, which was later than the day: cancelled.

        Returns the keys of their entries.
        """
        gone = []
        for key, one in entries.items():
            if one.time >= before:
                stored = await self._store.run(one.execution_id)
                if stored is None or await self._eraser.erase_old([stored.value], before):
                    await self._eraser.forget(one.job_id)
                    gone.append(key)
        return gone

    async def _clear_unsuccessful(self, day: date, until: datetime) -> bool:
        """Empties the list of those that did not succeed but for what is left; False: not all."""
        rows = self._days.query(list_of_all(day), "0", "~", select=["v"])
        left = {row.key async for row in rows}
        partition, token = list_of_unsuccessful(day), ""
        while self._clock.now() < until:
            page = await self._days.page(
                partition, "0", "~", select=["v"], limit=_ENTRIES_AT_ONCE, token=token
            )
            await self._days.remove(
                partition, [row.key for row in page.rows if row.key not in left]
            )
            if page.following is None:
                return True
            token = page.following
        return False

    async def _sweep(self, cursor: Cursor, until: datetime) -> Cursor:
        """Goes through all definitions, once a day."""
        today = self._clock.now().date()
        place = cursor.place
        if place is None and cursor.swept == today:
            return cursor
        place = place or SweepPlace()
        while place is not None and self._clock.now() < until:
            before = self._clock.now() - self._keep
            place = await self._unused.sweep(place, before, until)
        return replace(cursor, swept=today, place=place)

    async def _read(self) -> Cursor:
        row = await self._control.get(PARTITION, _KEY)
        if row is None:
            return Cursor()
        values = row.values
        place = SweepPlace(str(values.get("token") or ""), str(values.get("beyond") or ""))
        return Cursor(
            day=_date(values.get("day")),
            swept=_date(values.get("swept")),
            place=None if values.get("over", True) else place,
        )

    async def _note(self, before: Cursor, cursor: Cursor) -> Cursor:
        if cursor == before:
            return cursor
        place = cursor.place or SweepPlace()
        values: dict[str, Value] = {
            "v": 1,
            "day": _text(cursor.day),
            "swept": _text(cursor.swept),
            "over": cursor.place is None,
            "token": place.token,
            "beyond": place.beyond,
        }
        await self._control.commit(PARTITION, [Upsert(_KEY, values)])
        return cursor


def _entries(rows: Sequence[Row]) -> dict[str, ExecutionKey]:
    """What the entries of a list are of, by their keys."""
    found = {}
    for row in rows:
        key = parse_execution_id(execution_in(row.key))
        if key is None:
            log.warning("an entry is of no execution: %s", row.key, extra={"action": "list_row"})
        else:
            found[row.key] = key
    return found


def _is_gone(one: ExecutionKey, jobs: Mapping[str, Erased]) -> bool:
    erased = jobs.get(one.job_id)
    if erased is None or erased.failed or not erased.complete:
        return False
    return one.execution_id not in erased.left


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _date(value: Value) -> date | None:
    return date.fromisoformat(str(value)) if value else None


def _text(day: date | None) -> str:
    return day.isoformat() if day is not None else ""
