"""Lists of executions: the unfinished ones, those that ended, and those of one job.

Each goes through a range of keys from where the page before it ended, and reads at most ten pages
of storage: what a call costs does not grow with the history.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any

from scheduler.api.execution_query import ExecutionQuery, Place, day_of, first_day, read_query
from scheduler.api.job_totals import JobTotals
from scheduler.api.paging import invalid_continuation, write_continuation
from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import ExecutionId, ExecutionKey, is_job_id, key_of
from scheduler.dispatch.run_index import PREFIX, entry_of
from scheduler.execution.history.days import list_of_all, list_of_unsuccessful
from scheduler.execution.rules.states import RunState
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.catalog import Catalog
from scheduler.storage.keys import after, inverted
from scheduler.storage.tables import Page, Row, Table, UnknownToken
from scheduler.storage.values import optional_instant
from scheduler.telemetry import get_logger

log = get_logger(__name__)
PAGES_READ = 10
"""Of storage, by one call."""
_ONE_DAY = timedelta(days=1)
_COLUMNS = (
    *("execution_id", "job_id", "job_name", "timezone", "state", "trigger", "retried", "message"),
    *("scheduled_time", "start_time", "end_time"),
)


@dataclass(frozen=True, slots=True)
class _Part:
    """A page of storage as a part of a list: its entries, and where the next part begins."""

    entries: list[dict[str, Any]]
    following: Place | None


@dataclass
class _Call:
    """What one call has asked of storage, and need not ask again; None: not asked yet."""

    zones: list[str] | None = None
    oldest_day: str | None = None


class ExecutionList:
    """Lists executions, page by page."""

    def __init__(
        self,
        *,
        executions: Table,
        zones: Table,
        days: Table,
        totals: JobTotals,
        store: ExecutionStore,
        catalog: Catalog,
        dispatcher: Dispatcher,
        clock: Clock,
    ) -> None:
        self._executions = executions
        self._zones = zones
        self._days = days
        self._totals = totals
        self._store = store
        self._catalog = catalog
        self._dispatcher = dispatcher
        self._clock = clock

    async def history(
        self, query: Mapping[str, str], job_id: str
    ) -> tuple[dict[str, Any], str | None]:
        """One page of a job's executions, be it deleted, and the continuation of the next.

        The first page has the job's totals, too.

        Raises:
            InvalidRequest: a wrong filter, `limit` or `continuation`.
            NotFound: `job_not_found`: there is no such job, and no execution of one.
            StorageUnavailable: storage cannot be reached.
        """
        if not is_job_id(job_id):
            await self._catalog.require(job_id)
        body, following = await self.page(query, job_id)
        if not body["count"] and following is None and not await self._has_run(job_id):
            await self._catalog.require(job_id)
        if "continuation" not in query:
            body["totals"] = await self._totals.read(job_id)
        return body, following

    async def _has_run(self, job_id: str) -> bool:
        return bool((await self._executions.page(job_id, "r:", "r;", limit=1, select=["v"])).rows)

    async def page(
        self, query: Mapping[str, str], job_id: str | None = None
    ) -> tuple[dict[str, Any], str | None]:
        """One page and, when there is more, the continuation of the next.

        Of one job those due last come first. Else the unfinished come first, by zone, then those
        that ended, the last first.

        Raises:
            InvalidRequest: a wrong filter, `limit` or `continuation`.
            StorageUnavailable: storage cannot be reached.
        """
        asked = read_query(query, job_id, self._clock.now())
        found: list[dict[str, Any]] = []
        place: Place | None = asked.place
        call = _Call()
        for _ in range(PAGES_READ):
            if place is None or len(found) >= asked.limit:
                break
            try:
                part = await self._part(asked, call, place, asked.limit - len(found))
            except UnknownToken:
                raise invalid_continuation() from None
            known = {entry["execution_id"] for entry in found}
            found += [one for one in part.entries if one["execution_id"] not in known]
            place = part.following
        body = {
            "message": "1 execution" if len(found) == 1 else f"{len(found)} executions",
            "executions": found,
            "count": len(found),
        }
        return body, None if place is None else write_continuation(place.to_json(asked.fingerprint))

    async def _zone_queues(self, asked: ExecutionQuery) -> list[str]:
        """The zones whose unfinished executions are asked for, by their queues."""
        zones = sorted([zone.queue async for zone in self._dispatcher.zones_in_use()])
        if asked.timezone is None:
            return zones
        own = self._dispatcher.queue_of(asked.timezone)
        return [queue for queue in zones if queue == own]

    async def _part(self, asked: ExecutionQuery, call: _Call, place: Place, limit: int) -> _Part:
        match place.part:
            case "job":
                return await self._of_job(asked, place, limit)
            case "unfinished":
                return await self._unfinished(asked, call, place, limit)
            case _:
                return await self._ended(asked, call, place, limit)

    async def _of_job(self, asked: ExecutionQuery, place: Place, limit: int) -> _Part:
        start = f"r:{inverted(asked.to)};" if asked.to else "r:"
        end = f"r:{inverted(asked.from_)};" if asked.from_ else "r;"
        page = await self._executions.page(
            asked.job_id or "",
            start,
            end,
            select=_COLUMNS,
            limit=limit,
            where=asked.where,
            token=place.token,
        )
        following = None if page.following is None else Place("job", token=page.following)
        return _Part([_document(row) for row in page.rows], following)

    async def _unfinished(
        self, asked: ExecutionQuery, call: _Call, place: Place, limit: int
    ) -> _Part:
        """A page of one zone's `run:` rows, each with its run row."""
        if call.zones is None:
            call.zones = await self._zone_queues(asked)
        left = [queue for queue in call.zones if queue >= place.group]
        if not left:
            return _Part([], first_day(asked, self._clock.now()))
        token = place.token if left[0] == place.group else ""
        page = await self._zones.page(left[0], PREFIX, after(PREFIX), limit=limit, token=token)
        entries = [entry async for entry in self._active(page, asked)]
        if page.following is not None:
            return _Part(entries, Place("unfinished", left[0], page.following))
        if len(left) > 1:
            return _Part(entries, Place("unfinished", left[1]))
        return _Part(entries, first_day(asked, self._clock.now()))

    async def _active(self, page: Page, asked: ExecutionQuery) -> AsyncIterator[dict[str, Any]]:
        keys = [key_of(ExecutionId(row.key.removeprefix(PREFIX))) for row in page.rows]
        rows = await self._store.run_rows(keys, _COLUMNS)
        for index, key, row in zip(page.rows, keys, rows, strict=True):
            try:
                entry = _document(row) if row is not None else _announced(index, key)
            except (KeyError, TypeError, ValueError):
                log.warning("a row cannot be listed: %s", index.key, extra={"action": "list_row"})
                continue
            # One that has ended stays here until it stands in the list of its day.
            if asked.admits(entry):
                yield entry

    async def _ended(self, asked: ExecutionQuery, call: _Call, place: Place, limit: int) -> _Part:
        """A page of one day's list."""
        list_of = list_of_all if asked.wants_success else list_of_unsuccessful
        day = list_of(day_of(place.group))
        start = f"{inverted(asked.to)};" if asked.to else "0"
        end = f"{inverted(asked.from_)};" if asked.from_ else "~"
        page = await self._days.page(
            day,
            start,
            end,
            select=_COLUMNS,
            limit=limit,
            where=asked.where,
            token=place.token,
        )
        entries = [_document(row) for row in page.rows]
        if page.following is not None:
            return _Part(entries, Place("ended", place.group, page.following))
        return _Part(entries, await self._day_before(asked, call, place.group))

    async def _day_before(self, asked: ExecutionQuery, call: _Call, group: str) -> Place | None:
        """The day before, unless there is nothing from then or before."""
        day = day_of(group) - _ONE_DAY
        if asked.from_ is not None and day < asked.from_.astimezone(UTC).date():
            return None
        if call.oldest_day is None:
            call.oldest_day = await self._days.first_partition() or group
        if day < day_of(call.oldest_day.rstrip("!")):
            return None
        return Place("ended", f"{day:%Y%m%d}")


def _document(row: Row) -> dict[str, Any]:
    values = row.values
    execution_id = str(values["execution_id"])
    start = optional_instant(values.get("start_time"))
    end = optional_instant(values.get("end_time"))
    retried = str(values.get("retried") or "").split()
    return {
        "execution_id": execution_id,
        "job_id": key_of(ExecutionId(execution_id)).job_id,
        "job_name": values.get("job_name"),
        "status": str(values["state"]),
        "timezone": values.get("timezone"),
        "trigger": values.get("trigger"),
        "retry_of": retried[-1] if retried else None,
        "scheduled_time": values.get("scheduled_time"),
        "start_time": start,
        "end_time": end,
        "duration_seconds": round((end - start).total_seconds(), 3) if start and end else None,
        "message": values.get("message") or None,
    }


def _announced(row: Row, key: ExecutionKey) -> dict[str, Any]:
    """A run whose execution has not been made yet."""
    announced = entry_of(row).announcement
    return {
        "execution_id": key.execution_id,
        "job_id": key.job_id,
        "job_name": None,
        "status": RunState.PENDING.value,
        "timezone": announced.timezone,
        "trigger": announced.trigger.value,
        "retry_of": None,
        "scheduled_time": announced.scheduled,
        "start_time": None,
        "end_time": None,
        "duration_seconds": None,
        "message": None,
    }
