"""Whatever befalls a request of a cancel, or of what goes on beside it: it ends cancelled.

Unless the cancel never reached storage and its caller, who was told so, did not repeat it.
"""

from collections.abc import AsyncIterator

import pytest

from tests.faults.case import JOIN, ONE, SIDES, THREE, TIDY, TWO, WAIT, Case
from tests.faults.kinds import OF_CANCELS, Kind
from tests.faults.scenario import Scenario
from tests.faults.sweep import Sweep, cells
from tests.storage.faults import fault_tests
from tests.storage.scripted import dies, fails, waits

pytestmark = fault_tests
ONE_SLOT = {"max_concurrent_per_timezone": 1}
QUICK = {"lease_renewal_seconds": 0.02, "cancel_grace_seconds": 0.1}


async def cancelled_before_its_start(case: Case) -> AsyncIterator[None]:
    execution_id = await case.execute(ONE, TWO)
    yield
    await case.cancel(execution_id)


async def cancelled_between_steps(case: Case) -> AsyncIterator[None]:
    execution_id = await case.execute(ONE, TWO)
    await case.deliver()
    yield
    await case.cancel(execution_id)


async def cancelled_while_a_step_runs(case: Case) -> AsyncIterator[None]:
    hold = case.hold("two")
    execution_id = await case.execute(ONE, TWO, THREE)
    await case.go_on()
    yield
    await case.stop(hold, execution_id)


async def cancelled_in_branches(case: Case) -> AsyncIterator[None]:
    hold = case.hold("left")
    case.script("right", fails(retry_after=150))
    left, right = SIDES
    execution_id = await case.execute(left, {**right, "max_retries": 1}, JOIN)
    await case.go_on()
    yield
    await case.stop(hold, execution_id)


async def cancelled_parked(case: Case) -> AsyncIterator[None]:
    hold = case.hold("one")
    await case.execute(ONE)
    await case.go_on()
    second, _ = await case.execute(TWO), await case.execute(THREE)
    await case.go_on()
    yield
    await case.cancel(second)
    hold.release()
    await case.go_on()


async def cancelled_in_line(case: Case) -> AsyncIterator[None]:
    job_id = await case.store(ONE, overlap="queue")
    hold = case.hold("one")
    await case.start(job_id)
    await case.go_on()
    second, _ = await case.start(job_id), await case.start(job_id)
    await case.go_on()
    yield
    await case.cancel(second)
    hold.release()
    await case.go_on()


async def cancelled_first_in_line(case: Case) -> AsyncIterator[None]:
    job_id = await case.store(ONE, TWO, overlap="queue")
    first = await case.start(job_id)
    await case.deliver()
    await case.start(job_id)
    yield
    await case.cancel(first)
    await case.go_on()


async def cancelled_before_a_retry(case: Case) -> AsyncIterator[None]:
    case.script("one", fails(retry_after=50))
    execution_id = await case.execute({**ONE, "max_retries": 1}, TWO)
    await case.go_on()
    yield
    await case.cancel(execution_id)


async def cancelled_asleep(case: Case) -> AsyncIterator[None]:
    case.script("one", fails(retry_after=150))
    execution_id = await case.execute({**ONE, "max_retries": 1}, TWO)
    await case.go_on()
    yield
    await case.cancel(execution_id)


async def cancelled_before_it_is_announced(case: Case) -> AsyncIterator[None]:
    execution_id = await case.schedule(ONE)
    yield
    await case.cancel(execution_id)
    await case.announce()
    await case.go_on()


async def cancelled_before_its_time(case: Case) -> AsyncIterator[None]:
    execution_id = await case.schedule(ONE)
    await case.sim.app.tick.run()
    yield
    await case.cancel(execution_id)


async def cancelled_with_a_dead_worker(case: Case) -> AsyncIterator[None]:
    case.script("one", dies())
    execution_id = await case.execute(ONE, TWO)
    await case.go_on()
    case.deaths += 1
    yield
    await case.cancel(execution_id)


async def cancelled_with_a_lease_that_is_over(case: Case) -> AsyncIterator[None]:
    execution_id = await case.execute(ONE, TWO)
    await case.die("one", dies())
    yield
    await case.cancel(execution_id)


async def cancelled_while_held(case: Case) -> AsyncIterator[None]:
    execution_id = await case.schedule(ONE)
    await case.say("paused")
    await case.announce()
    await case.go_on()
    yield
    await case.cancel(execution_id)
    async with case.unbroken():
        await case.say("running")


async def cancelled_waiting(case: Case) -> AsyncIterator[None]:
    case.script("wait", waits(600, "seen"))
    execution_id = await case.execute(WAIT, TWO)
    await case.go_on()
    yield
    await case.cancel(execution_id)
    await case.go_on()


async def cancelled_and_cleaned_up(case: Case) -> AsyncIterator[None]:
    case.script("one", fails(retry_after=150))
    execution_id = await case.execute({**ONE, "max_retries": 1}, TWO, TIDY)
    await case.go_on()
    yield
    await case.cancel(execution_id)
    await case.go_on()


LOST = {"one": ("lost", "success")}
AGAIN = {"one": ("failed", "success")}
SCENARIOS = (
    Scenario(cancelled_before_its_start),
    Scenario(cancelled_between_steps),
    Scenario(cancelled_while_a_step_runs, settings=QUICK, sampled=4),
    Scenario(cancelled_in_branches, settings=QUICK, attempts={"right": ("failed", "success")}),
    Scenario(cancelled_waiting),
    Scenario(cancelled_and_cleaned_up, attempts=AGAIN),
    Scenario(cancelled_parked, settings=ONE_SLOT),
    Scenario(cancelled_in_line),
    Scenario(cancelled_first_in_line),
    Scenario(cancelled_before_a_retry, attempts=AGAIN),
    Scenario(cancelled_asleep, attempts=AGAIN),
    Scenario(cancelled_before_it_is_announced),
    Scenario(cancelled_before_its_time),
    Scenario(cancelled_while_held),
    Scenario(cancelled_with_a_dead_worker, attempts=LOST),
    Scenario(cancelled_with_a_lease_that_is_over, attempts=LOST),
)


@pytest.mark.parametrize(("scenario", "kind"), cells(SCENARIOS, OF_CANCELS))
async def test_a_cancel_ends_right_whatever_befalls_any_request_from_then_on(
    scenario: Scenario, kind: Kind | None, sweep: Sweep
) -> None:
    await sweep(scenario, kind, OF_CANCELS)
