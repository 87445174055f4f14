"""What the tests on real storage share."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.storage.simulation import Simulated, Simulation, simulated


@pytest.fixture
async def new_simulation(azurite: str, scheduler_name: str) -> AsyncIterator[Simulated]:
    """Makes a whole scheduler in simulated time, with settings of the test's choice."""
    async with AsyncExitStack() as stack:

        async def make(**settings: object) -> Simulation:
            return await stack.enter_async_context(simulated(azurite, scheduler_name, **settings))

        yield make


@pytest.fixture
async def sim(new_simulation: Simulated) -> Simulation:
    """A scheduler whose requests to storage are not repeated by the SDK."""
    return await new_simulation()


@pytest.fixture
async def patient(new_simulation: Simulated) -> Simulation:
    """A scheduler whose leases outlast any step that a test holds."""
    return await new_simulation(lease_seconds=86_400)
