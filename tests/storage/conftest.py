"""What the tests on real storage share."""

from collections.abc import AsyncIterator

import pytest

from tests.storage.simulation import Simulation, simulated


@pytest.fixture
async def sim(azurite: str, scheduler_name: str) -> AsyncIterator[Simulation]:
    """A whole scheduler in simulated time, without the SDK's retries."""
    async with simulated(azurite, scheduler_name) as simulation:
        yield simulation


@pytest.fixture
async def patient(azurite: str, scheduler_name: str) -> AsyncIterator[Simulation]:
    """A simulation whose leases outlast any step that a test holds."""
    async with simulated(azurite, scheduler_name, lease_seconds=86_400) as simulation:
        yield simulation
