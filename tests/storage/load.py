"""A tick's rich load: jobs of every kind, and what has to become of each, by plain arithmetic."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from scheduler.dispatch.ids import scheduled_id, shard_of
from scheduler.schedule.triggers import jittered
from scheduler.storage.values import instant
from tests.storage.simulation import Simulation
from tests.storage.stored import clear_shard, disagreements, shard_rows

MADE_BEFORE = timedelta(minutes=52)
"""So long before the tick the jobs are made; then the scheduler is down until the tick."""
LOOKED_AT = timedelta(minutes=5, seconds=30)
"""So long after the tick all its runs have ended."""
SHARDS = ("3", "7", "c")
JITTER = 600
CLOCK_SKEW = timedelta(seconds=90)
"""By so much the clocks of instances may differ, or a second tick be later."""
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


@dataclass(frozen=True)
class Expected:
    """A job, and what has to be when its runs have ended.

    `runs`: the nominal instants that run; `given_up`: instant and count of the skip record;
    `following`: the earliest and the latest instant where its due row may stand, or nowhere.
    """

    job_id: str
    fields: dict[str, Any]
    runs: tuple[datetime, ...] = ()
    given_up: tuple[datetime, int] | None = None
    following: tuple[datetime, datetime] | None = None
    jitter: int = 0
    spoiled: bool = False

    def states(self) -> dict[str, str]:
        """The states of its executions, by their ids."""
        states = {self.execution_id(nominal): "success" for nominal in self.runs}
        if self.given_up is not None:
            states[self.execution_id(self.given_up[0])] = "skipped"
        return states

    def starts(self) -> dict[str, datetime]:
        """The instants before which its executions must not start, by their ids."""
        ids = {nominal: self.execution_id(nominal) for nominal in self.runs}
        return {ids[one]: jittered(one, ids[one], self.jitter) for one in self.runs}

    def execution_id(self, nominal: datetime) -> str:
        """The id of the run of an instant."""
        return scheduled_id(self.job_id, nominal)


@dataclass
class Load:
    """The jobs that are due at a tick on a full hour; `name` makes their ids unique."""

    sim: Simulation
    name: str
    tick: datetime
    jobs: list[Expected] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Lists the jobs."""
        self._simple("utc", SHARDS[0], "1 * * * *")
        self._simple("tokyo", SHARDS[0], "1 * * * *", timezone="Asia/Tokyo")
        self._simple("kathmandu", SHARDS[1], "46 * * * *", timezone="Asia/Kathmandu")
        self._once("once", SHARDS[0], 90 * SECOND, "UTC")
        self._once("relayed", SHARDS[1], 75 * SECOND, "Asia/Kathmandu")
        self._missed()
        self._jittered()
        self._fast()
        bad = self._id("bad", SHARDS[1])
        later = (self.tick + HOUR - CLOCK_SKEW, self.tick + HOUR + CLOCK_SKEW)
        schedule = cron("*/10 * * * *")
        self.jobs.append(Expected(bad, {"schedule": schedule}, following=later, spoiled=True))

    def _id(self, kind: str, shard: str, fits: Callable[[str], bool] = lambda job_id: True) -> str:
        ids = (f"{kind}-{self.name}-{number}" for number in count())
        return next(one for one in ids if shard_of(one) == shard and fits(one))

    def _simple(self, kind: str, shard: str, expression: str, **fields: str) -> None:
        at = self.tick + MINUTE
        self.jobs.append(
            Expected(
                self._id(kind, shard),
                {"schedule": cron(expression), **fields},
                runs=(at,),
                following=(at + HOUR, at + HOUR),
            )
        )

    def _once(self, kind: str, shard: str, after: timedelta, timezone: str) -> None:
        at = self.tick + after
        schedule = {"type": "once", "expression": at.isoformat()}
        fields = {"schedule": schedule, "timezone": timezone}
        self.jobs.append(Expected(self._id(kind, shard), fields, runs=(at,)))

    def _missed(self) -> None:
        """Every ten minutes, five of them missed: the last is made up for, the others are not."""
        self.jobs.append(
            Expected(
                self._id("missed", SHARDS[0]),
                {"schedule": cron("*/10 * * * *", overlap="allow")},
                runs=(self.tick - 10 * MINUTE, self.tick),
                given_up=(self.tick - 20 * MINUTE, 4),
                following=(self.tick + 10 * MINUTE,) * 2,
            )
        )

    def _jittered(self) -> None:
        """Its start is too far away for a hidden message."""
        at = self.tick + MINUTE

        def far(job_id: str) -> bool:
            delay = jittered(at, scheduled_id(job_id, at), JITTER) - at
            return 200 * SECOND <= delay <= 230 * SECOND

        self.jobs.append(
            Expected(
                self._id("jitter", SHARDS[1], far),
                {"schedule": cron("1 * * * *", jitter_seconds=JITTER)},
                runs=(at,),
                following=(at + HOUR, at + HOUR),
                jitter=JITTER,
            )
        )

    def _fast(self) -> None:
        """Every 20 seconds: six runs in the horizon, and one beyond it."""
        start, end = self.tick + 10 * SECOND, self.tick + 150 * SECOND
        bounds = {"start_at": start.isoformat(), "end_at": end.isoformat()}
        schedule = {"type": "interval", "expression": "20s", "overlap": "allow", **bounds}
        runs = tuple(self.tick + number * 20 * SECOND for number in range(1, 8))
        self.jobs.append(Expected(self._id("fast", SHARDS[2]), {"schedule": schedule}, runs=runs))

    async def store(self) -> None:
        """Makes the jobs, long before the tick, and lets time pass until the tick is due."""
        self.sim.clock.move_to(self.tick - MADE_BEFORE)
        for job in self.jobs:
            await self.sim.create(job.job_id, {"id": "one"}, **job.fields)
            if job.spoiled:
                await self.sim.spoil_schedule(job.job_id)
        await self.sim.be_down(seconds=(self.tick - self.sim.clock.now()).total_seconds())

    async def check(self, where: str) -> None:
        """Every run exists once, ran once and not early, and every due row stands where it must.

        Raises:
            AssertionError: it does not; `where` says what had been done to the tick.
        """
        for job in self.jobs:
            await self._check_runs(job, where)
        await self._check_days(where)
        for shard in SHARDS:
            await self._check_rows(shard, where)

    async def _check_runs(self, job: Expected, where: str) -> None:
        query = self.sim.storage.executions.query(job.job_id, "r:", "r;")
        rows = {str(row.values["execution_id"]): row.values async for row in query}
        assert {one: row["state"] for one, row in rows.items()} == job.states(), where
        if job.given_up is not None:
            message = str(rows[job.execution_id(job.given_up[0])]["message"])
            assert message.startswith(f"{job.given_up[1]} missed runs"), (where, message)
        ran = [one for one in self.sim.script.ran if one.execution_id in rows]
        starts = job.starts()
        assert sorted(one.execution_id for one in ran) == sorted(starts), where
        for one in ran:
            assert one.at >= starts[one.execution_id], (where, one)

    async def _check_days(self, where: str) -> None:
        wanted = {one for job in self.jobs for one in job.states()}
        rows = self.sim.storage.days.query(f"{self.tick:%Y%m%d}", "", "~")
        listed = [str(row.values["execution_id"]) async for row in rows]
        assert sorted(one for one in listed if one in wanted) == sorted(wanted), where

    async def _check_rows(self, shard: str, where: str) -> None:
        rows = await shard_rows(self.sim, shard)
        assert disagreements(rows) == [], where
        jobs = [job for job in self.jobs if shard_of(job.job_id) == shard]
        found = [row.values for key, row in rows.items() if key.startswith("due:")]
        due = {str(row["job_id"]): instant(row["at"]) for row in found}
        assert due.keys() == {job.job_id for job in jobs if job.following is not None}, where
        for job in jobs:
            if job.following is not None:
                earliest, latest = job.following
                assert earliest <= due[job.job_id] <= latest, (where, job.job_id)

    async def clear(self) -> None:
        """Removes the jobs, and forgets them."""
        for shard in SHARDS:
            await clear_shard(self.sim, shard)
        await self.sim.assert_nothing_left()
        self.sim.job_ids.clear()
        self.sim.script.ran.clear()


def cron(expression: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """A cron schedule."""
    return {"type": "cron", "expression": expression, **fields}
