"""What every test may use: one Azurite a run, and a scheduler name of its own for each test."""

import os
import secrets
from collections.abc import Iterator

import pytest

from tools.azurite import Azurite
from tools.process import loopback_without_proxy

os.environ.update(loopback_without_proxy(os.environ))


@pytest.fixture(scope="session")
def azurite() -> Iterator[str]:
    """The connection string of an empty Azurite in memory, started for this run only."""
    with Azurite() as emulator:
        yield emulator.connection_string


@pytest.fixture
def scheduler_name() -> str:
    """A `SCHEDULER_NAME` that no other test uses, so that tests share one Azurite."""
    return f"t{secrets.token_hex(6)}"
