"""Adds up what has ended, job by job: the totals are as of an instant some minutes ago.

The lists of days are read from where the last roll-up stopped up to the instant before which every
end is told for sure. What breaks off is done again: each job knows the last that it has counted.
"""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import aclosing
from datetime import UTC, date, datetime, time, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.ids import key_of, shard_of
from scheduler.errors import ConflictingWrite
from scheduler.execution.history.days import execution_in, list_of_all
from scheduler.execution.history.totals import Ended, TotalsTable
from scheduler.execution.rules.states import RunState
from scheduler.execution.upkeep.pulse import Pulses
from scheduler.storage.keys import inverted
from scheduler.storage.tables import Row, Table
from scheduler.storage.values import instant, optional_instant
from scheduler.telemetry import get_logger

log = get_logger(__name__)
EVERY = timedelta(minutes=5)
LONGEST = timedelta(seconds=5)
"""No further span is begun with later in one call."""
_EARLY = timedelta(seconds=10)
"""So much sooner than after five minutes a timer may come."""
_SPAN, _FEW, _MANY = timedelta(hours=1), 1000, 50_000
"""What is read at once: twice as much after one in which few ended, half of it where many did."""
_SHORTEST_SPAN = timedelta(minutes=1)
_COLUMNS = ("state", "start_time", "end_time")


class Rollup:
    """Brings the totals of all jobs up to date."""

    def __init__(self, *, days: Table, totals: TotalsTable, pulses: Pulses, clock: Clock) -> None:
        self._days = days
        self._totals = totals
        self._pulses = pulses
        self._clock = clock
        self._rests_until = datetime.fromtimestamp(0, UTC)

    async def run(self) -> int:
        """Counts, every five minutes, what has ended since the last time; returns how many.

        Raises:
            StorageUnavailable: storage cannot be reached; the next call goes on.
        """
        began = self._clock.now()
        if began < self._rests_until:
            return 0
        pulse = await self._pulses.read()
        goal = pulse.upkeep.told_before if pulse.upkeep is not None else None
        if goal is None:
            return 0
        start = pulse.counted_through or await self._beginning(goal)
        count, reached = await self._go_on(start, goal, began + LONGEST)
        if reached > start or pulse.counted_through is None:
            await self._pulses.note_counted(reached)
        if reached >= goal:
            self._rests_until = began + EVERY - _EARLY
        return count

    async def _beginning(self, goal: datetime) -> datetime:
        first = await self._days.first_partition()
        if first is None:
            return goal
        day = date.fromisoformat(first.rstrip("!"))
        return datetime.combine(day, time(), UTC) - timedelta(microseconds=1)

    async def _go_on(
        self, start: datetime, goal: datetime, until: datetime
    ) -> tuple[int, datetime]:
        """Counts span by span as far as the time goes; how many, and how far it came."""
        count, reached, span = 0, start, _SPAN
        while reached < goal and self._clock.now() < until:
            end = min(goal, reached + span)
            found = await self._ended(reached, end, _MANY if span > _SHORTEST_SPAN else None)
            if found is None:
                span = span / 2
                continue
            try:
                await self._add(found)
            except ConflictingWrite:
                return count, reached  # another counts the same, and comes as far
            count, reached = count + len(found), end
            span = span * 2 if len(found) < _FEW else _SPAN
        return count, reached

    async def _ended(self, start: datetime, end: datetime, most: int | None) -> list[Ended] | None:
        """What ended after start, to the end; None where it is more than `most`."""
        found: list[Ended] = []
        day = start.date()
        while day <= end.date():
            first, last = f"{inverted(end)}:", f"{inverted(start)}:"
            rows = self._days.query(list_of_all(day), first, last, select=_COLUMNS)
            async with aclosing(rows):
                async for row in rows:
                    if most is not None and len(found) >= most:
                        return None
                    ended = _ended(row)
                    found += [ended] if ended is not None else []
            day += timedelta(days=1)
        return found

    async def _add(self, found: Sequence[Ended]) -> None:
        by_shard: dict[str, dict[str, list[Ended]]] = defaultdict(lambda: defaultdict(list))
        for one in found:
            by_shard[shard_of(one.job_id)][one.job_id].append(one)
        for shard, jobs in by_shard.items():
            await self._totals.add(shard, jobs)


def _ended(row: Row) -> Ended | None:
    """What an entry tells; None where it cannot be read."""
    values = row.values
    try:
        start, end = optional_instant(values.get("start_time")), instant(values["end_time"])
        return Ended(
            job_id=key_of(execution_in(row.key)).job_id,
            state=RunState(str(values["state"])),
            end=end,
            seconds=None if start is None else (end - start).total_seconds(),
        )
    except (KeyError, TypeError, ValueError):
        log.warning("an entry cannot be counted: %s", row.key, extra={"action": "list_row"})
        return None
