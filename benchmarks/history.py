"""Fills the tables with finished executions: copies of one that really ran, some as failed.

At most 10,000 are of the job that is read. The others are of jobs with 1,000 each, for the emulator
walks through a whole partition to insert a row.
"""

import asyncio
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import batched, groupby

from benchmarks.bench import START, Bench, job_on
from scheduler.dispatch.ids import ExecutionId, ExecutionKey, key_of, scheduled_id
from scheduler.execution.rules.states import RunState
from scheduler.storage.keys import inverted
from scheduler.storage.tables import MAX_CHANGES, Insert, Row, Table, Value
from tests.storage.seeding import store_jobs

OWN, OTHERS = 10_000, 1_000
"""How many runs the job that is read has at most, and each of the others."""
EACH_WITH_STEPS = 100
"""By default one in so many copies has its step rows too, to save time: nobody reads the others."""
EACH_FAILED = 10
"""One in so many copies has failed."""
_CONCURRENT = 4
_MINUTE, _DAY = timedelta(minutes=1), timedelta(days=1)
_OWN_DAYS = 8


class History:
    """An execution that ran, and copies of it, one for each minute before."""

    def __init__(
        self,
        bench: Bench,
        job_id: str,
        steps: int,
        hour: int,
        *,
        each_with_steps: int = EACH_WITH_STEPS,
    ) -> None:
        self.steps = steps
        self._each_with_steps = each_with_steps
        self._bench = bench
        self._job_id = job_id
        self._at = START.replace(hour=hour, minute=0)
        self._size = 0
        self._run: Row
        self._step_rows: list[Row] = []
        self._day: Row

    @property
    def middle(self) -> ExecutionId:
        """The copy in the middle of the job's own; the one that ran, while there are none."""
        return self._key(self._middle).execution_id

    @property
    def middle_day(self) -> date:
        """The day (UTC) in the middle of all copies."""
        return self._key(self._size // 2).time.date()

    @property
    def _middle(self) -> int:
        return min(self._size, OWN) // 2

    async def run(self) -> None:
        """Runs the job once, and takes its rows as the pattern."""
        bench, storage = self._bench, self._bench.app.storage
        job = job_on(f"0 {self._at.hour} * * *", steps=self.steps)
        await store_jobs(bench.app, job, [self._job_id], definitions=True)
        bench.clock.move_to(self._at)
        await bench.tick()
        for _ in range(self.steps):
            await bench.take(bench.app.dispatcher.queue_of("UTC"))
        rows = [row async for row in storage.executions.query(self._job_id, "r:", "s;")]
        (self._run,) = (row for row in rows if row.key.startswith("r:"))
        self._step_rows = [row for row in rows if row.key.startswith("s:")]
        if self._run.values["state"] != "success" or len(self._step_rows) != self.steps:
            raise AssertionError(f"the pattern did not run: {self._run.values['state']}")
        days = storage.days.query(f"{self._at:%Y%m%d}", "", "~")
        (self._day,) = [row async for row in days if row.values["job_id"] == self._job_id]

    async def fill(self, size: int) -> None:
        """Adds copies until there are so many."""
        numbers = range(self._size + 1, size + 1)
        self._size = size
        storage = self._bench.app.storage
        await _write(storage.executions, (row for one in numbers for row in self._execution(one)))
        await _write(storage.days, map(self._listed, numbers))
        failed = ((f"{day}!", row) for day, row in map(self._listed, filter(_failed, numbers)))
        await _write(storage.days, failed)

    def _key(self, number: int) -> ExecutionKey:
        if number <= OWN:
            return key_of(scheduled_id(self._job_id, self._at - number * _MINUTE))
        job, run = divmod(number - OWN - 1, OTHERS)
        at = self._at - (_OWN_DAYS + job) * _DAY - run * _MINUTE
        return key_of(scheduled_id(f"{self._job_id}-{job}", at))

    def _execution(self, number: int) -> Iterator[tuple[str, Insert]]:
        key = self._key(number)
        own: dict[str, Value] = {
            "execution_id": key.execution_id,
            "scheduled_time": key.time,
            "end_time": key.time,
            "state": _state_of(number),
        }
        yield key.job_id, Insert(key.run_row, {**self._run.values, **own})
        if number % self._each_with_steps == 0 or number == self._middle:
            for place, row in enumerate(self._step_rows):
                yield key.job_id, Insert(key.step_row(place), row.values)

    def _listed(self, number: int) -> tuple[str, Insert]:
        key = self._key(number)
        own: dict[str, Value] = {
            "execution_id": key.execution_id,
            "job_id": key.job_id,
            "scheduled_time": key.time,
            "end_time": key.time,
            "state": _state_of(number),
        }
        row = Insert(f"{inverted(key.time)}:{key.execution_id}", {**self._day.values, **own})
        return f"{key.time:%Y%m%d}", row


def _failed(number: int) -> bool:
    # Never the one in the middle: the reading of one that can be retried asks for more.
    return number % EACH_FAILED == EACH_FAILED - 1


def _state_of(number: int) -> RunState:
    return RunState.FAILED if _failed(number) else RunState.SUCCESS


async def _write(table: Table, rows: Iterable[tuple[str, Insert]]) -> None:
    """Inserts rows that come ordered by partition, a hundred to a transaction."""
    transactions = (
        (partition, [row for _, row in some])
        for partition, members in groupby(rows, key=lambda row: row[0])
        for some in batched(members, MAX_CHANGES, strict=False)
    )

    async def work() -> None:
        for partition, some in transactions:
            await table.commit(partition, some)

    await asyncio.gather(*(work() for _ in range(_CONCURRENT)))
