"""Erases what ended longer ago than executions are kept: day by day, the oldest first.

A day goes once all of it is old enough. What it has not got through in its time, the next call goes
on with: the entries in the list of a day go after the executions that are found by them.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import batched

from scheduler.clock import Clock
from scheduler.dispatch.control import PARTITION
from scheduler.errors import StorageUnavailable
from scheduler.execution.history.days import execution_in, list_of_all, list_of_unsuccessful
from scheduler.execution.history.erasing import Erased, Eraser
from scheduler.execution.history.unused_definitions import UnusedDefinitions
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
    """How far it has come: the next day to erase, and how far through all definitions.

    `swept`: the day on which the definitions were last gone through; `token`: where in them the
    pass of that day goes on, None once it is over.
    """

    day: date | None = None
    swept: date | None = None
    token: str | None = None


class Retention:
    """Erases executions, and definitions that nobody needs, after `keep`."""

    def __init__(
        self,
        *,
        days: Table,
        eraser: Eraser,
        unused: UnusedDefinitions,
        control: Table,
        keep: timedelta,
        clock: Clock,
    ) -> None:
        self._days = days
        self._eraser = eraser
        self._unused = unused
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
        found = cursor = await self._read()
        cursor, erased = await self._erase(cursor, until)
        cursor = await self._sweep(cursor, until)
        if cursor != found:
            await self._write(cursor)
        if cursor.token is None and self._clock.now() < until:
            self._rests_until = _midnight(began.date() + _ONE_DAY)
        return erased

    async def _erase(self, cursor: Cursor, until: datetime) -> tuple[Cursor, int]:
        last = (self._clock.now() - self._keep).date() - _ONE_DAY
        day, erased = cursor.day or await self._first_day(), 0
        while day is not None and day <= last and self._clock.now() < until:
            count, done = await self._erase_day(day, until)
            erased += count
            if not done:
                break
            day += _ONE_DAY
        if erased:
            extra = {"action": "executions_erased", "count": erased}
            log.info("executions were erased after %d days", self._keep.days, extra=extra)
        return replace(cursor, day=day), erased

    async def _first_day(self) -> date | None:
        partition = await self._days.first_partition()
        return None if partition is None else date.fromisoformat(partition.rstrip("!"))

    async def _erase_day(self, day: date, until: datetime) -> tuple[int, bool]:
        """Erases what ended on a day or before, job by job; how many, and whether that is all."""
        erased, jobs = 0, dict[str, Erased]()
        token: str | None = ""
        while token is not None:
            page = await self._days.page(
                list_of_all(day), "0", "~", select=["job_id"], limit=_ENTRIES_AT_ONCE, token=token
            )
            new = {str(row.values["job_id"]) for row in page.rows} - jobs.keys()
            for some in batched(sorted(new), _JOBS_AT_ONCE, strict=False):
                if self._clock.now() < until:
                    jobs |= await self._erase_jobs(some, day, until)
            await self._days.remove(list_of_all(day), _gone(page.rows, jobs))
            token = page.following
        erased = sum(one.count for one in jobs.values())
        if self._clock.now() >= until or not all(one.complete for one in jobs.values()):
            return erased, False
        await self._clear_unsuccessful(day)
        return erased, True

    async def _erase_jobs(
        self, job_ids: Sequence[str], day: date, until: datetime
    ) -> dict[str, Erased]:
        """Erases the old executions of some jobs; one at which our own code fails is left."""
        before = _midnight(day + _ONE_DAY)
        results = await asyncio.gather(
            *(self._eraser.erase_ended(job_id, before, until) for job_id in job_ids),
            return_exceptions=True,
        )
        erased = {}
        for job_id, result in zip(job_ids, results, strict=True):
            if isinstance(result, Erased):
                erased[job_id] = result
            elif isinstance(result, StorageUnavailable) or not isinstance(result, Exception):
                raise result
            else:
                log.error(
                    "the executions of %s cannot be erased",
                    job_id,
                    exc_info=result,
                    extra={"action": "erasing_failed", "job_id": job_id},
                )
        return erased

    async def _clear_unsuccessful(self, day: date) -> None:
        left = {row.key async for row in self._entries(list_of_all(day))}
        keys = [row.key async for row in self._entries(list_of_unsuccessful(day))]
        await self._days.remove(list_of_unsuccessful(day), [key for key in keys if key not in left])

    def _entries(self, partition: str) -> AsyncGenerator[Row]:
        return self._days.query(partition, "0", "~", select=["v"])

    async def _sweep(self, cursor: Cursor, until: datetime) -> Cursor:
        """Goes through all definitions, once a day."""
        today = self._clock.now().date()
        if cursor.token is None and cursor.swept == today:
            return cursor
        cursor = replace(cursor, swept=today, token=cursor.token or "")
        while cursor.token is not None and self._clock.now() < until:
            now = self._clock.now()
            _, following = await self._unused.sweep(cursor.token, now - self._keep, now)
            cursor = replace(cursor, token=following)
        return cursor

    async def _read(self) -> Cursor:
        row = await self._control.get(PARTITION, _KEY)
        if row is None:
            return Cursor()
        return Cursor(
            day=_date(row.values.get("day")),
            swept=_date(row.values.get("swept")),
            token=None if row.values.get("over", True) else str(row.values.get("token") or ""),
        )

    async def _write(self, cursor: Cursor) -> None:
        values: dict[str, Value] = {
            "v": 1,
            "day": _text(cursor.day),
            "swept": _text(cursor.swept),
            "over": cursor.token is None,
            "token": cursor.token or "",
        }
        await self._control.commit(PARTITION, [Upsert(_KEY, values)])


def _gone(rows: Sequence[Row], jobs: Mapping[str, Erased]) -> list[str]:
    """The keys of entries whose executions are erased."""
    return [
        row.key
        for row in rows
        if (erased := jobs.get(str(row.values["job_id"]))) is not None
        and erased.complete
        and execution_in(row.key) not in erased.left
    ]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _date(value: Value) -> date | None:
    return date.fromisoformat(str(value)) if value else None


def _text(day: date | None) -> str:
    return day.isoformat() if day is not None else ""
