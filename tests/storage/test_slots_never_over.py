"""Never more runs than slots: after the limit is lowered, and beside workers that stall."""

import asyncio
import random
from collections.abc import Sequence

import pytest

from steps.contract import StepContext, StepFailed, StepResult
from tests.storage.accidents import at_rest, dies_before, until
from tests.storage.scripted import Hold, Script, fails
from tests.storage.simulation import Simulated, Simulation
from tests.storage.wire import Fault, Mode


@pytest.fixture
async def single(new_simulation: Simulated) -> Simulation:
    """A scheduler that runs one execution of a zone at a time."""
    return await new_simulation(max_concurrent_per_timezone=1, lease_seconds=86_400)


async def held_run(sim: Simulation, name: str) -> tuple[str, Hold]:
    """A run that is about to start, and whose only step goes on when the test lets it."""
    hold = Hold()
    sim.script.acts[name] = [hold]
    return await sim.execute(name, {"id": name}), hold


async def test_of_two_newcomers_after_the_limit_was_lowered_one_waits(
    new_simulation: Simulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=4, lease_seconds=86_400)
    picks: list[int] = []

    def pick(choices: Sequence[object]) -> object:
        return choices[min(picks.pop(0), len(choices) - 1) if picks else -1]

    monkeypatch.setattr(random, "choice", pick)
    old = []
    for number in range(4):
        old.append(await held_run(sim, f"old{number}"))
        await sim.deliver()
    sim.settings = sim.settings.model_copy(update={"max_concurrent_per_timezone": 2})
    await sim.restart()
    other = sim.new_app()
    for _, hold in old[1:]:
        hold.release()
    await sim.host.settled()
    assert await sim.slots() == [old[0][0]]  # beyond the two that there are now
    new = [await held_run(sim, f"new{number}") for number in range(2)]
    first, second = await sim.host.take(sim.app)
    picks[:] = [0, 1]
    grant = sim.wire.arm(1, Mode.HELD, lambda kind: kind == "Zones batch")
    workers = [asyncio.create_task(sim.host.hand_over(sim.app, *first))]
    await grant.reached.wait()
    sim.wire.fault = None
    workers.append(asyncio.create_task(sim.host.hand_over(other, *second)))
    await until(lambda: sim.script.busy == 2)
    grant.released.set()
    await asyncio.gather(*workers)
    assert sim.script.busy == len(await sim.slots()) == 2
    for _, hold in (*old, *new):
        hold.release()
    await sim.run()
    assert [(await sim.read(one))["status"] for one, _ in (*old, *new)] == ["success"] * 6
    await sim.assert_nothing_left()


async def test_a_worker_frozen_while_it_gives_its_slot_back_leaves_it_to_the_run_that_has_woken(
    single: Simulation,
) -> None:
    again, faults = Hold(), list[Fault]()

    async def freeze(script: Script, context: StepContext) -> StepResult:
        faults.append(single.wire.arm(1, Mode.HELD, lambda kind: kind == "Zones batch"))
        raise StepFailed("broken", "by the test", retry_after=70)

    single.script.acts["one"] = [freeze, again]
    sleeper = await single.execute("sleeper", {"id": "one", "max_retries": 1})
    ((queue, message),) = await single.host.take(single.app)
    frozen = asyncio.create_task(single.app.engine.handle(queue, message.text, 1))
    await until(lambda: faults)
    await faults[0].reached.wait()
    single.wire.fault = None
    await single.restart()
    other, hold = await held_run(single, "other")
    await single.be_down(seconds=75)
    await at_rest(single)
    assert single.script.times(sleeper, "one") == 2
    faults[0].released.set()
    await frozen
    await single.be_down(seconds=5)
    await at_rest(single)
    assert (await single.slots(), single.script.busy) == ([sleeper], 1)
    again.release()
    hold.release()
    await single.run()
    assert single.script.most_busy == 1
    assert [(await single.read(one))["status"] for one in (sleeper, other)] == ["success"] * 2
    await single.assert_nothing_left()


async def test_upkeep_does_not_take_the_slot_of_a_run_that_wakes_meanwhile(
    single: Simulation,
) -> None:
    again = Hold()
    single.script.acts["one"] = [
        dies_before(single, "Zones batch", fails(retry_after=110)),
        again,
    ]
    sleeper = await single.execute("sleeper", {"id": "one", "max_retries": 1})
    await single.deliver()
    assert await single.slots() == [sleeper]
    single.clock.advance(109.9)

    async def wake() -> None:
        single.clock.advance(0.2)
        await single.deliver()

    single.wire.before("Zones batch", wake)
    await single.app.upkeep.run()
    assert single.script.times(sleeper, "one") == 2
    other, hold = await held_run(single, "other")
    await at_rest(single)
    assert (await single.slots(), single.script.busy) == ([sleeper], 1)
    again.release()
    hold.release()
    await single.run()
    assert [(await single.read(one))["status"] for one in (sleeper, other)] == ["success"] * 2
    await single.assert_nothing_left()
