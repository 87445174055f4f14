"""Making, changing and deleting a job, broken at any request: nothing lost, doubled, half written.

All calls of a test are made first, each broken at another request; then time passes for all jobs.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count, product
from typing import Any

import pytest

from scheduler.dispatch.ids import scheduled_id, shard_of
from scheduler.errors import Conflict, NotFound, StorageUnavailable
from tests.storage.faults import ALL, Tried, fault_tests
from tests.storage.simulation import AUTHOR, CALLER, Simulation
from tests.storage.stored import disagreements, shard_rows
from tests.storage.wire import DELAYS, KILLS, Killed, Mode

pytestmark = fault_tests
MODES = tuple(mode for mode in Mode if mode not in DELAYS)
SHARDS = ("2", "b")
REQUESTS = 30
"""More than any of the calls makes; the calls beyond the last request succeed unbroken."""
SOON, SOONER, LATER = timedelta(seconds=60), timedelta(seconds=40), timedelta(seconds=150)
OVERDUE = timedelta(seconds=-130)
LONG = timedelta(minutes=6)
"""Until all runs have ended, from the last call."""
DAY = timedelta(days=1)

type Outcome = dict[str, str]
"""State of the run by the old schedule (`old`) and of that by the new one (`new`)."""


@dataclass
class Case:
    """A job whose call is broken at the `at`-th request, and its two instants."""

    job_id: str
    at: int
    old: datetime
    new: datetime
    done: bool = False
    """Whether the caller was told that it is done."""
    hit: str | None = None


def daily(instant: datetime) -> dict[str, Any]:
    """A schedule that runs at an instant, and each day at the same time."""
    return {"type": "cron", "expression": f"{instant:%-S %-M %-H} * * *"}


async def make(sim: Simulation, case: Case) -> None:
    await sim.create(case.job_id, {"id": "one"}, schedule=daily(case.new))


async def change(sim: Simulation, case: Case) -> None:
    await sim.app.jobs.patch(CALLER, AUTHOR, case.job_id, {"schedule": daily(case.new)}, None)


async def delete(sim: Simulation, case: Case) -> None:
    await sim.drop_job(case.job_id)


@dataclass(frozen=True)
class Call:
    """A call, the old run's distance from it (None: there is no job yet), and what may come of it.

    `left`: when the call was not made; `done`: when it was.
    """

    name: str
    make: Callable[[Simulation, Case], Awaitable[None]]
    old: timedelta | None
    left: Outcome
    done: Outcome
    stays: bool = True
    """Whether the job is there after the call."""
    announced: bool = False
    """Whether a tick has announced the old run before the call."""


RAN = "success"
CALLS = (
    Call("make", make, None, left={}, done={"new": RAN}),
    Call("change", change, LATER, left={"old": RAN}, done={"new": RAN}),
    Call("change-overdue", change, OVERDUE, left={"old": RAN}, done={"old": RAN, "new": RAN}),
    Call("delete", delete, LATER, left={"old": RAN}, done={}, stays=False),
    Call(
        "delete-announced",
        delete,
        SOON,
        left={"old": RAN},
        done={"old": "skipped"},
        stays=False,
        announced=True,
    ),
)
CELLS = tuple(product(CALLS, MODES, (False, True)))


async def prepare(sim: Simulation, call: Call, mode: Mode, sampled: range) -> list[Case]:
    """Makes the jobs that are to be changed, and lets time pass until their calls."""
    now = (sim.clock.now() + timedelta(seconds=200)).replace(microsecond=0)
    cases = []
    for at in range(1, REQUESTS + 1) if ALL else sampled:
        ids = (f"{call.name}-{mode}-{at}-{number}" for number in count())
        job_id = next(one for one in ids if shard_of(one) == SHARDS[at % 2])
        case = Case(job_id, at, now + (call.old or timedelta(0)), now + SOONER)
        if call.old is not None:
            await sim.create(job_id, {"id": "one"}, schedule=daily(case.old))
        cases.append(case)
    if call.announced:
        await sim.run(now)
    else:
        await sim.be_down(seconds=(now - sim.clock.now()).total_seconds())
    return cases


async def broken(sim: Simulation, call: Call, case: Case, mode: Mode) -> None:
    """Makes the call, its request broken; a dead instance is replaced."""
    fault = sim.wire.arm(case.at, mode)
    try:
        await call.make(sim, case)
        case.done = True
    except (Killed, StorageUnavailable):
        assert fault.hit is not None
    await sim.wire.quiet()
    sim.wire.fault = None
    case.hit = fault.hit
    if fault.hit is not None and mode in KILLS:
        await sim.kill()


async def repeat(sim: Simulation, call: Call, case: Case) -> None:
    """What a caller does who was not told how it went."""
    try:
        await call.make(sim, case)
    except (Conflict, NotFound):
        assert call.make in (make, delete)
    case.done = True


async def outcome(sim: Simulation, case: Case) -> Outcome:
    """The states of a job's runs; each ran once if at all, and not before its time."""
    rows = sim.storage.executions.query(case.job_id, "r:", "r;")
    states = {str(row.values["execution_id"]): str(row.values["state"]) async for row in rows}
    found: Outcome = {}
    for name, nominal in (("old", case.old), ("new", case.new)):
        execution_id = scheduled_id(case.job_id, nominal)
        ran = [one.at for one in sim.script.ran if one.execution_id == execution_id]
        if execution_id in states:
            found[name] = states.pop(execution_id)
        assert len(ran) == (found.get(name) == RAN), (case, ran)
        assert all(at >= nominal for at in ran), (case, ran)
    assert states == {}, case
    return found


async def check(sim: Simulation, call: Call, case: Case) -> None:
    """The call was made or not, as a whole; made, if the caller was told so."""
    rows = await shard_rows(sim, shard_of(case.job_id))
    assert disagreements(rows) == [], case
    there = f"job:{case.job_id}" in rows
    found = await outcome(sim, case)
    if case.done:
        assert found == call.done, case
        assert there == call.stays, case
    else:
        assert found in (call.left, call.done), case
        assert there == (found == call.done) if call.old is None else True, case
    following = {
        row.values["nominal"]
        for key, row in rows.items()
        if key.startswith("due:") and row.values["job_id"] == case.job_id
    }
    nominal = case.new if "new" in found else case.old
    assert following == ({nominal + DAY} if there else set()), case


@pytest.mark.parametrize(
    ("call", "mode", "repeats"),
    [
        pytest.param(*cell, id=f"{cell[0].name}-{cell[1]}-{'again' if cell[2] else 'once'}")
        for cell in (CELLS if ALL else CELLS[::11])
    ],
)
async def test_a_call_broken_at_any_request_is_made_as_a_whole_or_not_at_all(
    sim: Simulation, call: Call, mode: Mode, repeats: bool, tried: Tried
) -> None:
    first = 1 + MODES.index(mode) % 3
    cases = await prepare(sim, call, mode, range(first, 18, 3))
    began = sim.clock.now()
    for case in cases:
        await broken(sim, call, case, mode)
        if repeats and not case.done:
            await repeat(sim, call, case)
        # All calls are made at the same time, though each may have timed out.
        sim.clock.advance((began - sim.clock.now()).total_seconds())
        if case.hit is not None:
            tried()
    assert not ALL or cases[-1].hit is None
    await sim.run(sim.clock.now() + LONG)
    for case in cases:
        await check(sim, call, case)
    await sim.assert_nothing_left()
