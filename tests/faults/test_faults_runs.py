"""Whatever befalls any request of a run: the run ends right, and its effects are there once."""

from collections.abc import AsyncIterator

import pytest

from tests.faults.case import JOIN, ONE, SIDES, THREE, TIDY, TWO, WAIT, WIDE, WIDE_JOIN, Case
from tests.faults.kinds import OF_RUNS, UNFELT, Kind
from tests.faults.scenario import Scenario
from tests.faults.sweep import Sweep, cells
from tests.storage.faults import fault_tests
from tests.storage.scripted import fails, waits

pytestmark = fault_tests
TRIED_AGAIN = {"two": ("failed", "success")}
ONE_SLOT = {"max_concurrent_per_timezone": 1}
REPEATEDLY = 5
"""More often than attempts are lost."""


async def chain(case: Case) -> AsyncIterator[None]:
    await case.schedule(ONE, TWO, THREE)
    yield
    await case.announce()
    await case.go_on()


async def asked_for(case: Case) -> AsyncIterator[None]:
    job_id = await case.store(ONE, TWO)
    yield
    await case.ask_for(job_id)
    await case.go_on()


async def branches(case: Case) -> AsyncIterator[None]:
    await case.execute(*SIDES, JOIN)
    yield
    await case.go_on()


async def without_a_trigger(case: Case) -> AsyncIterator[None]:
    await case.execute(ONE, TWO, timezone="Asia/Kathmandu")
    yield
    await case.go_on()


async def retried_soon(case: Case) -> AsyncIterator[None]:
    case.script("two", fails(retry_after=20))
    await case.execute(ONE, {**TWO, "max_retries": 1}, THREE)
    yield
    await case.go_on()


async def retried_late(case: Case) -> AsyncIterator[None]:
    case.script("two", fails(retry_after=150))
    await case.execute(ONE, {**TWO, "max_retries": 1})
    yield
    await case.go_on()


async def slot_given_back(case: Case) -> AsyncIterator[None]:
    case.script("two", fails(retry_after=150))
    await case.execute({**TWO, "max_retries": 1})
    await case.execute(ONE)
    yield
    await case.go_on()


async def out_of_time(case: Case) -> AsyncIterator[None]:
    # Long enough for a takeover of "one" to come in time.
    case.script("two", *REPEATEDLY * [fails(retry_after=300)])
    await case.execute(ONE, {**TWO, "max_retries": 1}, timeout_seconds=200)
    yield
    await case.go_on()


async def handed_over(case: Case) -> AsyncIterator[None]:
    hold = case.hold("one")
    await case.execute(ONE)
    await case.go_on()
    await case.execute(TWO, THREE)
    yield
    await case.go_on()
    hold.release()
    await case.go_on()


async def in_line(case: Case) -> AsyncIterator[None]:
    job_id = await case.store(ONE, overlap="queue")
    hold = case.hold("one")
    await case.start(job_id)
    await case.go_on()
    await case.start(job_id)
    yield
    await case.go_on()
    hold.release()
    await case.go_on()


async def let_go(case: Case) -> AsyncIterator[None]:
    await case.schedule(ONE, TWO)
    await case.say("paused")
    await case.announce()
    await case.go_on()
    await case.say("running")
    yield


async def waiting(case: Case) -> AsyncIterator[None]:
    case.script("wait", waits(20, "seen once"), waits(150, "seen twice"))
    await case.execute(WAIT, TWO)
    yield
    await case.go_on()


async def wide(case: Case) -> AsyncIterator[None]:
    await case.execute(*WIDE, WIDE_JOIN)
    yield
    await case.go_on()


async def cleaned_up(case: Case) -> AsyncIterator[None]:
    case.script("one", *REPEATEDLY * [fails()])
    await case.execute(ONE, TWO, TIDY)
    yield
    await case.go_on()


async def cleaned_up_late(case: Case) -> AsyncIterator[None]:
    # Long enough for a takeover of "one" to come in time.
    case.script("two", *REPEATEDLY * [fails(retry_after=300)])
    await case.execute(ONE, {**TWO, "max_retries": 1}, TIDY, timeout_seconds=200)
    yield
    await case.go_on()


SCENARIOS = (
    Scenario(waiting),
    Scenario(wide, side_by_side=10),
    Scenario(cleaned_up, status="failed", attempts={"one": ("failed",)}),
    Scenario(cleaned_up_late, status="timeout", attempts={"two": ("failed",)}),
    Scenario(chain, sampled=6),
    Scenario(asked_for),
    Scenario(branches, side_by_side=2),
    Scenario(without_a_trigger),
    Scenario(retried_soon, attempts=TRIED_AGAIN),
    Scenario(retried_late, attempts=TRIED_AGAIN),
    Scenario(slot_given_back, attempts=TRIED_AGAIN, settings=ONE_SLOT),
    Scenario(out_of_time, status="timeout", attempts={"two": ("failed",)}),
    Scenario(handed_over, settings=ONE_SLOT, sampled=6),
    Scenario(in_line),
    Scenario(let_go),
)


async def chain_with_repetitions(case: Case) -> AsyncIterator[None]:
    async for _ in chain(case):
        yield


REPEATED = (Scenario(chain_with_repetitions, settings={"storage_retries": 1}),)


@pytest.mark.parametrize(("scenario", "kind"), cells(SCENARIOS, OF_RUNS))
async def test_a_run_ends_right_whatever_befalls_any_of_its_requests(
    scenario: Scenario, kind: Kind | None, sweep: Sweep
) -> None:
    await sweep(scenario, kind, OF_RUNS)


@pytest.mark.parametrize(("scenario", "kind"), cells(REPEATED, UNFELT))
async def test_with_one_repetition_by_the_sdk_no_fault_is_felt(
    scenario: Scenario, kind: Kind | None, sweep: Sweep
) -> None:
    await sweep(scenario, kind, UNFELT)
