"""The list of jobs: by shard and id, page by page, filtered on the way."""

from collections.abc import Mapping
from typing import Any

from scheduler.api.paging import (
    invalid_continuation,
    read_continuation,
    read_flag,
    read_limit,
    write_continuation,
)
from scheduler.dispatch.ids import SHARDS, is_job_id
from scheduler.errors import InvalidRequest, ScheduleError
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.job_row import JobRow
from scheduler.schedule.zones import resolve_timezone

MAX_ROWS_READ = 10_000
_PLACE = frozenset({"shard", "id"})


class JobList:
    """Lists stored jobs."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def page(self, query: Mapping[str, str]) -> tuple[dict[str, Any], str | None]:
        """One page and, when there is more, the continuation of the next.

        Raises:
            InvalidRequest: a wrong `limit`, `continuation`, `enabled_only` or `timezone`.
        """
        limit = read_limit(query)
        wanted = _Filter(query)
        place = _place(query)
        found: list[JobRow] = []
        read = 0
        following: str | None = None
        for shard in SHARDS[SHARDS.index(place["shard"]) :]:
            beyond = place["id"] if shard == place["shard"] else ""
            async for row in self._catalog.rows(shard, beyond):
                if len(found) == limit or read == MAX_ROWS_READ:
                    following = write_continuation({"shard": shard, "id": beyond})
                    break
                read += 1
                beyond = row.job_id
                if wanted.matches(row):
                    found.append(row)
            if following is not None:
                break
        body = {
            "message": "1 job" if len(found) == 1 else f"{len(found)} jobs",
            "jobs": [_document(row) for row in found],
            "count": len(found),
            "total_count": await self._catalog.total(),
        }
        return body, following


class _Filter:
    def __init__(self, query: Mapping[str, str]) -> None:
        self._enabled_only = read_flag(query, "enabled_only")
        self._timezone = _zone(query.get("timezone"))
        self._type = query.get("type")
        self._name = query.get("name", "").casefold()

    def matches(self, row: JobRow) -> bool:
        """Whether a job is one of those that were asked for."""
        return (
            (row.enabled or not self._enabled_only)
            and self._timezone in (None, row.timezone)
            and (self._type is None or self._type in row.step_types)
            and row.name.casefold().startswith(self._name)
        )


def _place(query: Mapping[str, str]) -> dict[str, str]:
    place = read_continuation(query, _PLACE) or {"shard": SHARDS[0], "id": ""}
    if place["shard"] not in SHARDS or not (place["id"] == "" or is_job_id(place["id"])):
        raise invalid_continuation()
    return place


def _document(row: JobRow) -> dict[str, Any]:
    schedule = (
        {"type": row.schedule_type, "expression": row.expression} if row.schedule_type else None
    )
    return {
        "id": row.job_id,
        "name": row.name,
        "timezone": row.timezone,
        "enabled": row.enabled,
        "step_types": sorted(row.step_types),
        "schedule": schedule,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
    }


def _zone(name: str | None) -> str | None:
    """The zone of the query; its fault has no place in a body."""
    try:
        return None if name is None else resolve_timezone(name)
    except ScheduleError as error:
        raise InvalidRequest.of("", error.fault, error.message) from None
