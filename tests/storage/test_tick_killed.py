"""A tick that is killed, or fails, at any of its requests: the next ones put it right."""

from datetime import timedelta

import pytest

from scheduler.errors import StorageUnavailable
from tests.storage.faults import Tried, fault_tests, places
from tests.storage.load import LOOKED_AT, Load
from tests.storage.simulation import START, Simulation
from tests.storage.wire import DELAYS, KILLS, Fault, Killed, Mode

pytestmark = fault_tests
MODES = tuple(mode for mode in Mode if mode is not Mode.HELD)
SAMPLED = 60
"""In a sample each so-manieth request is broken, in each mode from another one on."""
REQUESTS = 75
"""About as many as the tick makes."""


async def broken_tick(sim: Simulation, load: Load, at: int, mode: Mode) -> Fault:
    """Runs the tick of a load, its `at`-th request broken, and lets its runs come to their end."""
    await load.store()
    fault = sim.wire.arm(at, mode)
    try:
        await sim.app.run_tick()
    except (Killed, StorageUnavailable):
        assert mode not in DELAYS
    await sim.wire.quiet()
    sim.wire.fault = None
    if mode in KILLS and fault.hit is not None:
        await sim.kill()
    await sim.run(load.tick + LOOKED_AT)
    return fault


@pytest.mark.parametrize("mode", MODES)
async def test_a_tick_broken_at_any_request_loses_and_doubles_nothing(
    sim: Simulation, mode: Mode, tried: Tried
) -> None:
    hour = START.replace(minute=0, second=0)
    first = 1 + MODES.index(mode) * SAMPLED // len(MODES)
    for number, at in enumerate(places(range(first, REQUESTS, SAMPLED)), 1):
        load = Load(sim, f"{mode}-{at}", hour + timedelta(hours=number))
        fault = await broken_tick(sim, load, at, mode)
        await load.check(f"{mode} at {at}: {fault.hit}")
        await load.clear()
        if fault.hit is None:
            return
        tried()
