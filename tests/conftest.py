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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many places of faults were tried."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    tried = sum(key == "tried" for report in reports for key, _ in report.user_properties)
    if tried:
        terminalreporter.write_line(f"{tried} places of storage faults tried")
