"""Reads and writes executions: run row and step rows, in the partition of their job."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduler.dispatch.ids import ExecutionId, ExecutionKey, key_of
from scheduler.errors import ConflictingWrite, NotFound, StorageUnavailable
from scheduler.execution.latest import Latest
from scheduler.execution.records import run_columns, run_of, step_columns, step_of
from scheduler.execution.rules.model import Run, StepRecord
from scheduler.execution.rules.states import RunState
from scheduler.storage.keys import after, inverted, span
from scheduler.storage.tables import (
    Change,
    Delete,
    Insert,
    Merge,
    Replace,
    Row,
    Table,
    Upsert,
)

CURRENT = "!current"
QUEUE_PREFIX = "!queue:"
_READ_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Stored[T]:
    """What was read or written, and its version; `others`: those of the rows written along."""

    value: T
    etag: str
    others: tuple[str, ...] = ()


def current_columns(execution_id: ExecutionId) -> dict[str, str]:
    """The values of the row that marks a job's active run."""
    return {"execution_id": execution_id}


class ExecutionStore:
    """Every write of an execution goes through here, its run row first: that row is the guard."""

    def __init__(self, executions: Table) -> None:
        self._executions = executions
        self.latest = Latest[Stored[Run]]()

    async def run(self, execution_id: ExecutionId) -> Stored[Run] | None:
        """Reads a run row, or None.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        key = key_of(execution_id)
        row = await self._executions.get(key.job_id, key.run_row)
        if row is None:
            return None
        stored = Stored(run_of(row), row.etag)
        if not stored.value.state.finished:
            self.latest.read(execution_id, stored)
        return stored

    def _written(self, run: Run, etags: Sequence[str]) -> Stored[Run]:
        stored = Stored(run, etags[0], tuple(etags[1:]))
        if run.state.finished:
            self.latest.forget(run.execution_id)
        else:
            self.latest.wrote(run.execution_id, stored)
        return stored

    async def run_rows(
        self, keys: Sequence[ExecutionKey], columns: Sequence[str]
    ) -> list[Row | None]:
        """These columns of run rows; None for each that is not there.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        gate = asyncio.Semaphore(_READ_AT_ONCE)

        async def row(key: ExecutionKey) -> Row | None:
            async with gate:
                return await self._executions.get(key.job_id, key.run_row, columns)

        return list(await asyncio.gather(*map(row, keys)))

    async def create(self, run: Run, changes: Sequence[Change] = ()) -> Stored[Run]:
        """Makes an execution, with other rows of its job in the same transaction.

        One that is a retry is entered with all executions that it retries, and these must be there.

        Raises:
            ConflictingWrite: index 0: it exists; else of the other changes, counted from 1.
            NotFound: `execution_not_found`: what it retries has been erased meanwhile.
            StorageUnavailable: storage cannot be reached.
        """
        insert = Insert(run.key.run_row, run_columns(run))
        try:
            etags = await self._executions.commit(
                run.job_id, [insert, *changes, *_retry_entries(run)]
            )
        except ConflictingWrite as error:
            if error.index <= len(changes):
                raise
            raise NotFound(
                "the execution that was to be retried has been erased", code="execution_not_found"
            ) from None
        return self._written(run, etags)

    async def save(self, run: Run, etag: str, changes: Sequence[Change] = ()) -> Stored[Run]:
        """Replaces an execution of this version, with other rows in the same transaction.

        Raises:
            ConflictingWrite: index 0: it has changed; else of the other changes, counted from 1.
            StorageUnavailable: storage cannot be reached.
        """
        replace = Replace(run.key.run_row, run_columns(run), etag)
        try:
            etags = await self._executions.commit(run.job_id, [replace, *changes])
        except (ConflictingWrite, StorageUnavailable):
            self.latest.is_old(run.execution_id)
            raise
        return self._written(run, etags)

    async def go_on(self, run: Run, etag: str, changes: Sequence[Change] = ()) -> Stored[Run]:
        """Saves an execution; one that has ended also stops being its job's active one.

        Raises:
            ConflictingWrite: as `save`, but not where its mark as the active one is gone already.
            StorageUnavailable: storage cannot be reached.
        """
        if not (run.state.finished and run.holds_current):
            return await self.save(run, etag, changes)
        try:
            return await self.save(run, etag, [*changes, leave_current()])
        except ConflictingWrite as error:
            if error.index <= len(changes):
                raise
            return await self.save(run, etag, changes)

    async def retries(self, key: ExecutionKey) -> list[ExecutionId]:
        """The executions that are retries of one, the first first.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        prefix = key.retry_rows
        rows = self._executions.query(key.job_id, prefix, after(prefix), select=["direct"])
        return [
            ExecutionId(row.key.removeprefix(prefix))
            async for row in rows
            if row.values.get("direct")
        ]

    async def retries_of(self, keys: Sequence[ExecutionKey]) -> dict[ExecutionId, list[Row]]:
        """The states and ends of the retries that there are of some executions of a job.

        Of each, also those that are its retries by others between.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        start, end = span(one.retry_rows for one in keys)
        rows = self._executions.query(keys[0].job_id, start, end, select=["v"])
        pairs = [row.key.split(":")[2:] async for row in rows]
        retries = list({ExecutionId(retry): None for _, retry in pairs})
        columns = ("execution_id", "state", "end_time")
        stored = await self.run_rows([key_of(one) for one in retries], columns)
        found = dict(zip(retries, stored, strict=True))
        retried: dict[ExecutionId, list[Row]] = {one.execution_id: [] for one in keys}
        for source, retry in pairs:
            row = found[ExecutionId(retry)]
            if source in retried and row is not None:
                retried[ExecutionId(source)].append(row)
        return retried

    async def states(
        self, job_id: str, first: datetime, last: datetime
    ) -> AsyncIterator[tuple[ExecutionId, RunState]]:
        """A job's executions whose ids are of first ≤ instant ≤ last, the latest first.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        start, end = f"r:{inverted(last)}:", f"r:{inverted(first)};"
        columns = ["state"]
        async for row in self._executions.query(job_id, start, end, select=columns):
            execution_id = row.key.rpartition(":")[2]
            yield ExecutionId(execution_id), RunState(str(row.values["state"]))

    async def step(self, key: ExecutionKey, place: int) -> Stored[StepRecord] | None:
        """Reads a step's row, or None when it has never started.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._executions.get(key.job_id, key.step_row(place))
        return None if row is None else Stored(step_of(row), row.etag)

    async def steps(self, key: ExecutionKey) -> dict[int, StepRecord]:
        """Reads the rows of all steps that have started, by place.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        prefix = key.step_rows
        rows = self._executions.query(key.job_id, prefix, after(prefix))
        return {int(row.key.removeprefix(prefix)): step_of(row) async for row in rows}

    async def renew(
        self, key: ExecutionKey, place: int, record: StepRecord, etag: str
    ) -> Stored[StepRecord]:
        """Writes a step's row alone, of this version: for its lease.

        Raises:
            ConflictingWrite: it has changed.
            StorageUnavailable: storage cannot be reached.
        """
        change = Replace(key.step_row(place), step_columns(record), etag)
        etags = await self._executions.commit(key.job_id, [change])
        return Stored(record, etags[0])

    async def current(self, job_id: str) -> Stored[ExecutionId] | None:
        """Reads which execution of a job is the active one, or None.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._executions.get(job_id, CURRENT)
        return (
            None if row is None else Stored(ExecutionId(str(row.values["execution_id"])), row.etag)
        )

    async def queued(self, job_id: str, limit: int) -> list[tuple[str, ExecutionId]]:
        """The runs that wait for the active one: row keys and ids, the first come first.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        rows = self._executions.query(job_id, QUEUE_PREFIX, after(QUEUE_PREFIX), limit=limit)
        return [(row.key, ExecutionId(str(row.values["execution_id"]))) async for row in rows]

    async def drop_queued(self, job_id: str, key: str) -> None:
        """Removes a queue row; one that is not there is no error.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        await self._executions.remove(job_id, [key])


def _retry_entries(run: Run) -> list[Change]:
    """The entries of a retry with what it retries, and that those it takes steps from are there."""
    if not run.retried:
        return []
    copied = {run.retried[step.copied] for step in run.steps if step.copied is not None}
    sources = [key_of(one) for one in run.retried]
    entries: list[Change] = [
        Upsert(f"{key.retry_rows}{run.execution_id}", {"v": 1, "direct": key is sources[-1]})
        for key in sources
    ]
    guarded = sorted(copied | {run.retried[-1]})
    return [*entries, *(Merge(key_of(one).run_row, {}, None) for one in guarded)]


def insert_step(key: ExecutionKey, place: int, record: StepRecord) -> Change:
    """The change that makes the row of a step that starts for the first time."""
    return Insert(key.step_row(place), step_columns(record))


def replace_step(
    key: ExecutionKey, place: int, record: StepRecord, etag: str | None = None
) -> Change:
    """The change that replaces a step's row; without an ETag the run row beside it is the guard."""
    return Replace(key.step_row(place), step_columns(record), etag)


def tell_to_stop(key: ExecutionKey, place: int) -> Change:
    """The change that tells the attempt of a step to stop: its next renewal meets another row."""
    return Merge(key.step_row(place), {"cancel_requested": True}, None)


def claim_current(run: Run) -> Change:
    """The change that makes a run its job's active one; refused while another is."""
    return Insert(CURRENT, current_columns(run.execution_id))


def leave_current() -> Change:
    """The change by which the active run steps back."""
    return Delete(CURRENT, None)
