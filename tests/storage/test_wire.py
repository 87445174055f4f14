"""The fault-injecting transport: what each fault does to storage, and what its sender learns."""

import asyncio

import pytest

from scheduler.errors import StorageUnavailable
from scheduler.storage.tables import Insert
from tests.storage.simulation import START, Simulated, Simulation
from tests.storage.transport import TIMEOUT_SECONDS
from tests.storage.wire import DONE, FAILURES, KILLS, Killed, Mode

TIMEOUTS = (Mode.TIMEOUT_BEFORE, Mode.TIMEOUT_AFTER)


@pytest.mark.parametrize("mode", FAILURES)
async def test_a_request_that_fails_is_done_or_not_and_its_sender_learns_only_that_it_failed(
    sim: Simulation, mode: Mode
) -> None:
    queue = await sim.app.dispatcher.open_zone("UTC")
    fault = sim.wire.arm(1, mode)
    with pytest.raises(StorageUnavailable):
        await sim.app.storage.queues.send(queue, "text")
    assert fault.hit == "tz send"
    assert await sim.storage.queues.length(queue) == (mode in DONE)
    assert sim.clock.now() == START or mode in TIMEOUTS
    assert (sim.clock.now() - START).total_seconds() in (0, TIMEOUT_SECONDS)
    await sim.app.storage.queues.send(queue, "text")


@pytest.mark.parametrize("mode", FAILURES)
async def test_the_sdk_repeats_what_it_takes_for_short_faults(
    new_simulation: Simulated, mode: Mode
) -> None:
    sim = await new_simulation(storage_retries=1)
    queue = await sim.app.dispatcher.open_zone("UTC")
    before = sim.wire.counts["tz send"]
    sim.wire.arm(1, mode)
    await sim.app.storage.queues.send(queue, "text")
    assert sim.wire.counts["tz send"] == before + 2
    assert await sim.storage.queues.length(queue) == 1 + (mode in DONE)


@pytest.mark.parametrize("mode", KILLS)
async def test_nothing_of_a_killed_instance_reaches_storage(sim: Simulation, mode: Mode) -> None:
    queue = await sim.app.dispatcher.open_zone("UTC")
    sim.wire.arm(1, mode)
    told: list[BaseException] = []

    async def try_again() -> None:
        try:
            await sim.app.storage.queues.send(queue, "text")
        except Exception as error:  # what code of the app would do
            told.append(error)
        finally:
            await sim.app.storage.jobs.commit("0", [Insert("job:left", {"v": 1})])

    with pytest.raises(Killed):
        await try_again()
    with pytest.raises(Killed):
        await sim.app.storage.jobs.get("0", "job:left")
    assert told == []
    assert await sim.storage.queues.length(queue) == (mode in DONE)
    assert await sim.storage.jobs.get("0", "job:left") is None
    await sim.kill()
    await sim.app.storage.queues.send(queue, "text")


async def test_requests_under_way_when_their_instance_dies_are_done_and_tell_nobody(
    sim: Simulation,
) -> None:
    names = [str(number) for number in range(5)]
    sim.wire.arm(5, Mode.KILLED_BEFORE, lambda kind: kind == "Jobs batch")
    commits = (sim.app.storage.jobs.commit(one, [Insert("job:x", {"v": 1})]) for one in names)
    outcomes = await asyncio.gather(*commits, return_exceptions=True)
    assert {type(one) for one in outcomes} == {Killed}
    rows = [await sim.storage.jobs.get(one, "job:x") for one in names]
    assert rows[-1] is None


async def test_a_late_request_is_sent_when_all_others_are_done(sim: Simulation) -> None:
    await sim.app.storage.jobs.commit("0", [Insert("a", {"v": 1})])
    sim.wire.arm(1, Mode.LATE)
    done: list[str] = []

    async def commit(name: str, times: int) -> None:
        for number in range(times):
            await sim.app.storage.jobs.commit("0", [Insert(f"{name}{number}", {"v": 1})])
            done.append(name)

    await asyncio.gather(commit("late", 1), commit("b", 3), commit("c", 2))
    assert done[-1] == "late"
    assert len(done) == 6


async def test_a_held_request_waits_until_the_test_lets_it_go(sim: Simulation) -> None:
    queue = await sim.app.dispatcher.open_zone("UTC")
    fault = sim.wire.arm(1, Mode.HELD)
    sending = asyncio.create_task(sim.app.storage.queues.send(queue, "text"))
    await fault.reached.wait()
    await sim.app.storage.queues.send(queue, "another")
    assert await sim.storage.queues.length(queue) == 1
    fault.released.set()
    await sending
    assert await sim.storage.queues.length(queue) == 2


async def test_a_request_held_while_its_instance_dies_is_never_sent(sim: Simulation) -> None:
    queue = await sim.app.dispatcher.open_zone("UTC")
    fault = sim.wire.arm(1, Mode.HELD)
    sending = asyncio.create_task(sim.app.storage.queues.send(queue, "text"))
    await fault.reached.wait()
    await sim.kill()
    fault.released.set()
    with pytest.raises(Killed):
        await sending
    assert await sim.storage.queues.length(queue) == 0
