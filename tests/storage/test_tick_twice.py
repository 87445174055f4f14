"""Two ticks at once, on clocks that differ, between any two requests of each other."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from scheduler.app import App
from scheduler.dispatch.ids import scheduled_id
from tests.storage.faults import Tried, fault_tests, places
from tests.storage.load import CLOCK_SKEW, LOOKED_AT, Load
from tests.storage.scripted import Hold
from tests.storage.simulation import START, Simulated, Simulation
from tests.storage.wire import ManualClock, any_kind

pytestmark = fault_tests
HOUR = timedelta(hours=1)
FULL_HOUR = START.replace(minute=0, second=0)
SKEWS = (-CLOCK_SKEW, timedelta(0), CLOCK_SKEW)
SAMPLED = 70
REQUESTS = 65
"""About as many as the tick makes."""


class SkewedClock:
    """A clock that is ahead of another by `skew`."""

    def __init__(self, clock: ManualClock, skew: timedelta) -> None:
        self._clock = clock
        self._skew = skew

    def now(self) -> datetime:
        """The instant that it takes for the present one."""
        return self._clock.now() + self._skew

    async def sleep(self, seconds: float) -> None:
        """Lets so much time pass."""
        await self._clock.sleep(seconds)


def skewed(sim: Simulation, skew: timedelta) -> App:
    """Another instance, its clock ahead."""
    return sim.new_app(SkewedClock(sim.clock, skew))


@pytest.mark.parametrize("skew", SKEWS, ids=["behind", "alike", "ahead"])
@pytest.mark.parametrize("inner", [False, True], ids=["outer", "inner"])
async def test_a_tick_within_another_between_any_two_requests_starts_each_run_once(
    sim: Simulation, skew: timedelta, inner: bool, tried: Tried
) -> None:
    other = skewed(sim, skew)
    first = 5 + (SKEWS.index(skew) + 3 * inner) * 11
    for number, at in enumerate(places(range(first, REQUESTS, SAMPLED)), 1):
        load = Load(sim, f"{number}", FULL_HOUR + number * HOUR)
        await load.store()
        ticks = (sim.app, other) if inner else (other, sim.app)
        between = sim.wire.between(at, any_kind, ticks[1].run_tick)
        await ticks[0].run_tick()
        await sim.run(load.tick + LOOKED_AT)
        await load.check(f"before {at}: {between.hit}")
        await load.clear()
        if between.hit is None:
            return
        tried()


async def one_after_the_other(one: App, other: App) -> None:
    await one.run_tick()
    await other.run_tick()


async def at_once(one: App, other: App) -> None:
    await asyncio.gather(one.run_tick(), other.run_tick())


@pytest.mark.parametrize("run", [one_after_the_other, at_once])
@pytest.mark.parametrize("skew", SKEWS, ids=["behind", "alike", "ahead"])
async def test_a_tick_that_runs_twice_for_a_minute_starts_each_run_once(
    sim: Simulation, run: Callable[..., object], skew: timedelta
) -> None:
    load = Load(sim, "twice", FULL_HOUR + HOUR)
    await load.store()
    outcome = run(sim.app, skewed(sim, skew))
    assert asyncio.iscoroutine(outcome)
    await outcome
    await sim.run(load.tick + LOOKED_AT)
    await load.check("twice")
    await load.clear()


@pytest.mark.parametrize("ticker", SKEWS, ids=["tick behind", "tick alike", "tick ahead"])
@pytest.mark.parametrize("starter", SKEWS, ids=["start behind", "start alike", "start ahead"])
async def test_no_run_starts_early_by_the_clock_of_the_instance_that_starts_it(
    sim: Simulation, ticker: timedelta, starter: timedelta
) -> None:
    every = {"type": "interval", "expression": "30s", "overlap": "allow"}
    end = START + timedelta(minutes=3)
    await sim.create("job", {"id": "one"}, schedule={**every, "end_at": end.isoformat()})
    ticking = skewed(sim, ticker)
    sim.app = skewed(sim, starter)
    for _ in range(5):
        await sim.run(minutes=1)
        await ticking.run_tick()
    await sim.run()
    instants = [START + number * timedelta(seconds=30) for number in range(1, 6)]
    nominals = {str(scheduled_id("job", at)): at for at in instants}
    assert sorted(one.execution_id for one in sim.script.ran) == sorted(nominals)
    for one in sim.script.ran:
        assert one.at + starter >= nominals[one.execution_id]
    await sim.assert_nothing_left()


async def test_a_run_that_a_fast_clock_has_parked_starts_no_earlier_by_a_slow_one(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=1, lease_seconds=86_400)
    hold = Hold()
    sim.script.acts["busy"] = [hold]
    await sim.execute("busy", {"id": "busy"})
    await sim.deliver()
    due = START + timedelta(seconds=110)
    await sim.create("job", {"id": "one"}, schedule={"type": "once", "expression": f"{due:%FT%TZ}"})
    await sim.app.run_tick()
    await sim.host.show(early=True)
    sim.clock.move_to(due - timedelta(seconds=20))
    await sim.host.deliver(skewed(sim, timedelta(seconds=30)))
    hold.release()
    await sim.run()
    (ran,) = (one for one in sim.script.ran if one.step == "one")
    assert due <= ran.at <= due + timedelta(seconds=2)
    await sim.assert_nothing_left()
