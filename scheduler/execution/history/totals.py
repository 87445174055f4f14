"""What the executions of a job come to since it was first counted: one row a job.

The rows of a hundred jobs change in one transaction, so they stand in the shards of the jobs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import batched

from scheduler.dispatch.ids import shard_of
from scheduler.execution.rules.states import RunState
from scheduler.storage.tables import MAX_CHANGES, Change, Insert, Replace, Row, Table, Value
from scheduler.storage.values import instant, number, optional_instant
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_VERSION = 1
_NEVER = datetime.fromtimestamp(0, UTC)
_COUNTED = [state for state in RunState if state.finished]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """An execution that has ended, as it is counted; `seconds` from its start, None without one."""

    job_id: str
    state: RunState
    end: datetime
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """A job's executions by outcome, and their durations (seconds) as far as they had begun.

    `through`: the end of the last that is counted; those that ended later are not.
    """

    through: datetime = _NEVER
    since: datetime | None = None
    by_outcome: Mapping[RunState, int] = field(default_factory=dict)
    timed: int = 0
    seconds: float = 0.0
    longest_seconds: float = 0.0
    last_success: datetime | None = None
    last_failure: datetime | None = None

    def with_all(self, ended: Iterable[Ended]) -> "Totals":
        """These totals and what ended after the last that is counted in them."""
        totals = self
        for one in sorted(ended, key=lambda one: one.end):
            if one.end > self.through:
                totals = totals._with(one)
        return totals

    def _with(self, one: Ended) -> "Totals":
        counted = {**self.by_outcome, one.state: self.by_outcome.get(one.state, 0) + 1}
        seconds = one.seconds or 0.0
        succeeded = one.state is RunState.SUCCESS
        failed = one.state in (RunState.FAILED, RunState.TIMEOUT)
        return replace(
            self,
            through=one.end,
            since=self.since or one.end,
            by_outcome=counted,
            timed=self.timed + (one.seconds is not None),
            seconds=self.seconds + seconds,
            longest_seconds=max(self.longest_seconds, seconds),
            last_success=one.end if succeeded else self.last_success,
            last_failure=one.end if failed else self.last_failure,
        )


class TotalsTable:
    """Reads and writes the totals.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(self, stats: Table) -> None:
        self._stats = stats

    async def read(self, job_id: str) -> Totals:
        """A job's totals; of one that was never counted they are empty."""
        row = await self._stats.get(shard_of(job_id), job_id)
        return (None if row is None else _totals_of(row)) or Totals()

    async def add(self, shard: str, ended: Mapping[str, Sequence[Ended]]) -> None:
        """Adds to the totals of jobs of a shard what ended after the last that they count.

        Raises:
            ConflictingWrite: another adds at the same time; a part may be added.
        """
        names = sorted(ended)
        found = {row.key: row async for row in self._stats.query(shard, names[0], f"{names[-1]}!")}
        changes = [
            change
            for name in names
            if (change := _change(found.get(name), name, ended[name])) is not None
        ]
        for some in batched(changes, MAX_CHANGES, strict=False):
            await self._stats.commit(shard, some)

    async def remove(self, job_id: str) -> None:
        """Forgets a job's totals; of one that was never counted nothing."""
        await self._stats.remove(shard_of(job_id), [job_id])


def _change(row: Row | None, job_id: str, ended: Sequence[Ended]) -> Change | None:
    before = Totals() if row is None else _totals_of(row)
    if before is None:
        return None  # a later version may have written it: nothing of it is to be lost
    totals = before.with_all(ended)
    if totals is before:
        return None
    columns = _columns(totals)
    return Insert(job_id, columns) if row is None else Replace(job_id, columns, row.etag)


def _columns(totals: Totals) -> dict[str, Value]:
    return {
        "v": _VERSION,
        "through": totals.through,
        "since": totals.since,
        "timed": totals.timed,
        "seconds": totals.seconds,
        "longest_seconds": totals.longest_seconds,
        "last_success": totals.last_success,
        "last_failure": totals.last_failure,
        **{state.value: count for state, count in totals.by_outcome.items()},
    }


def _totals_of(row: Row) -> Totals | None:
    values = row.values
    if number(values.get("v")) > _VERSION:
        return None
    try:
        return Totals(
            through=instant(values["through"]),
            since=optional_instant(values.get("since")),
            by_outcome={
                state: number(values.get(state)) for state in _COUNTED if values.get(state)
            },
            timed=number(values.get("timed")),
            seconds=float(str(values["seconds"])),
            longest_seconds=float(str(values["longest_seconds"])),
            last_success=optional_instant(values.get("last_success")),
            last_failure=optional_instant(values.get("last_failure")),
        )
    except (KeyError, TypeError, ValueError):
        log.exception("totals cannot be read: %s", row.key, extra={"action": "totals_unreadable"})
        return None
