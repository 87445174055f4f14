"""What the tests of faults share."""

from functools import partial

import pytest

from tests.faults.sweep import Sweep, sweep
from tests.storage.faults import Tried


@pytest.fixture(name="sweep")
def sweep_fixture(azurite: str, tried: Tried) -> Sweep:
    """Tries the places of a scenario whose turn it is."""
    return partial(sweep, azurite, tried)
