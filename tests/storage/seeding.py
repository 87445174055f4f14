"""Stores many jobs at once: the rows that the catalog writes, without the work of the API."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from itertools import batched

from scheduler.app import App
from scheduler.dispatch.ids import shard_of
from scheduler.jobs.catalog import COUNT_KEY, JOB_PREFIX, new_revision
from scheduler.jobs.due import Due
from scheduler.jobs.job_row import job_columns
from scheduler.jobs.model import Job, JobId
from scheduler.schedule.plan import plan_job
from scheduler.storage.tables import MAX_CHANGES, Change, Insert, Upsert
from scheduler.storage.values import number

_ROWS_A_JOB = 3
_CONCURRENT = 4


async def store_jobs(
    app: App, job: Job, ids: Sequence[str], *, whole: bool = True, definitions: bool = False
) -> None:
    """Stores a job under each of these ids, as of the app's clock; its zone comes into use.

    Each has its job row, due row and pointer; without `whole` the due row alone. Runs can start
    only of those that are stored with their `definitions`.

    Raises:
        ValueError: the job has no run ahead.
    """
    now = app.clock.now()
    due = plan_job(job, new_revision(), now)
    if due is None:
        raise ValueError(f"the job {job.id} has no run ahead")
    await app.dispatcher.open_zone(job.timezone)
    by_shard: dict[str, list[JobId]] = defaultdict(list)
    for one in ids:
        by_shard[shard_of(one)].append(JobId(one))
    gate = asyncio.Semaphore(_CONCURRENT)

    async def store(shard: str, some: Sequence[JobId]) -> None:
        async with gate:
            changes: list[Change] = []
            for one in some:
                named = replace(job, id=one)
                if definitions:
                    await app.definitions.put(named)
                mine = replace(due, job_id=one)
                changes += _rows(named, mine, now) if whole else [Upsert(mine.key, mine.columns())]
            await app.storage.jobs.commit(shard, changes)

    size = MAX_CHANGES // _ROWS_A_JOB if whole else MAX_CHANGES
    some_jobs = [
        store(shard, some)
        for shard, members in by_shard.items()
        for some in batched(members, size, strict=False)
    ]
    await asyncio.gather(*some_jobs)
    await _count(app, {shard: len(members) for shard, members in by_shard.items()})


def _rows(job: Job, due: Due, now: datetime) -> list[Change]:
    columns = job_columns(job, job.hash, revision=due.revision, changed=now, created=now, now=now)
    return [
        Insert(JOB_PREFIX + job.id, columns),
        Upsert(due.key, due.columns()),
        Upsert(due.next_key, due.pointer()),
    ]


async def _count(app: App, added: dict[str, int]) -> None:
    for shard, more in added.items():
        row = await app.storage.jobs.get(shard, COUNT_KEY)
        count = more + (number(row.values["count"]) if row is not None else 0)
        await app.storage.jobs.commit(shard, [Upsert(COUNT_KEY, {"v": 1, "count": count})])
