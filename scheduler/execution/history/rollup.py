"""Adds up what has ended, job by job: the totals are as of an instant some minutes ago.

The lists of days are read from where the last roll-up stopped up to the instant before which every
end is told for sure. What breaks off is done again: each job knows the last that it has counted.
"""

from collections import defaultdict
from datetime import UTC, date, datetime, time, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.ids import shard_of
from scheduler.execution.history.days import list_of_all
from scheduler.execution.history.totals import Ended, TotalsTable
from scheduler.execution.rules.states import RunState
from scheduler.execution.upkeep.pulse import Pulses
from scheduler.storage.keys import inverted
from scheduler.storage.tables import Row, Table
from scheduler.storage.values import instant, optional_instant
from scheduler.telemetry import get_logger

log = get_logger(__name__)
EACH_MINUTES = 5
LONGEST = timedelta(seconds=5)
"""No further span is begun with later in one call."""
_SPAN, _FEW = timedelta(hours=1), 1000
"""What is read at once; twice as much after one in which only a few ended."""
_COLUMNS = ("job_id", "state", "start_time", "end_time")


class Rollup:
    """Brings the totals of all jobs up to date."""

    def __init__(self, *, days: Table, totals: TotalsTable, pulses: Pulses, clock: Clock) -> None:
        self._days = days
        self._totals = totals
        self._pulses = pulses
        self._clock = clock

    async def run(self) -> int:
        """Counts, every five minutes, what has ended since the last time; returns how many.

        Raises:
            ConflictingWrite: another does so at the same time; the next call goes on.
            StorageUnavailable: storage cannot be reached; the next call goes on.
        """
        began = self._clock.now()
        if began.minute % EACH_MINUTES:
            return 0
        pulse = await self._pulses.read()
        goal = pulse.upkeep.told_before if pulse.upkeep is not None else None
        if goal is None:
            return 0
        start = reached = pulse.counted_through or await self._beginning(goal)
        count, span = 0, _SPAN
        while reached < goal and self._clock.now() < began + LONGEST:
            end = min(goal, reached + span)
            found = await self._count(reached, end)
            count, reached = count + found, end
            span = span * 2 if found < _FEW else _SPAN
        if reached > start or pulse.counted_through is None:
            await self._pulses.note_counted(reached)
        return count

    async def _beginning(self, goal: datetime) -> datetime:
        first = await self._days.first_partition()
        if first is None:
            return goal
        day = date.fromisoformat(first.rstrip("!"))
        return datetime.combine(day, time(), UTC) - timedelta(microseconds=1)

    async def _count(self, start: datetime, end: datetime) -> int:
        """Counts what ended after start, to the end."""
        by_shard: dict[str, dict[str, list[Ended]]] = defaultdict(lambda: defaultdict(list))
        count, day = 0, start.date()
        while day <= end.date():
            partition = list_of_all(day)
            first, last = f"{inverted(end)}:", f"{inverted(start)}:"
            async for row in self._days.query(partition, first, last, select=_COLUMNS):
                ended = _ended(row)
                by_shard[shard_of(ended.job_id)][ended.job_id].append(ended)
                count += 1
            day += timedelta(days=1)
        for shard, jobs in by_shard.items():
            await self._totals.add(shard, jobs)
        return count


def _ended(row: Row) -> Ended:
    values = row.values
    start, end = optional_instant(values.get("start_time")), instant(values["end_time"])
    return Ended(
        job_id=str(values["job_id"]),
        state=RunState(str(values["state"])),
        end=end,
        seconds=None if start is None else (end - start).total_seconds(),
    )
