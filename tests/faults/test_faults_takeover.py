"""A worker dies; whatever befalls a request of the takeover, it ends as on_interrupt says."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.case import JOIN, ONE, SIDES, THREE, TWO, Case
from tests.faults.kinds import OF_RUNS, Kind
from tests.faults.scenario import Scenario
from tests.faults.sweep import Sweep, cells
from tests.storage.faults import fault_tests
from tests.storage.scripted import dies

pytestmark = fault_tests


async def taken_over(case: Case) -> AsyncIterator[None]:
    await case.execute(ONE, TWO, THREE)
    await case.die("two", dies())
    yield


async def first_step_taken_over(case: Case) -> AsyncIterator[None]:
    await case.schedule(ONE, TWO)
    case.script("one", dies())
    await case.announce()
    await case.die("one", dies())
    yield


async def not_taken_over(case: Case) -> AsyncIterator[None]:
    await case.execute(ONE, {**TWO, "on_interrupt": "fail"}, THREE)
    await case.die("two", dies())
    yield


async def branch_taken_over(case: Case) -> AsyncIterator[None]:
    await case.execute(*SIDES, JOIN)
    await case.die("left", dies())
    yield


async def late_for_a_lost_worker(case: Case) -> AsyncIterator[None]:
    await case.execute(ONE, TWO, timeout_seconds=100)
    await case.die("one", dies())
    await case.pass_time(20)
    yield


LOST = ("lost", "success")
SCENARIOS = (
    Scenario(taken_over, attempts={"two": LOST}, sampled=5),
    Scenario(first_step_taken_over, attempts={"one": LOST}),
    Scenario(not_taken_over, status="failed", attempts={"two": ("failed",)}),
    Scenario(branch_taken_over, attempts={"left": LOST}),
    Scenario(late_for_a_lost_worker, status="timeout", attempts={"one": ("failed",)}),
)


@pytest.mark.parametrize(("scenario", "kind"), cells(SCENARIOS, OF_RUNS))
async def test_a_takeover_ends_right_whatever_befalls_any_of_its_requests(
    scenario: Scenario, kind: Kind | None, sweep: Sweep
) -> None:
    await sweep(scenario, kind, OF_RUNS)
