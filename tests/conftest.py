"""What every test may use: one Azurite a run, and a scheduler name of its own for each test."""

import os
import secrets
from collections import Counter, defaultdict
from collections.abc import Iterator

import pytest

from tests.storage.faults import SEED, Tried
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


@pytest.fixture
def tried(request: pytest.FixtureRequest) -> Tried:
    """Counts the places of faults that a test has tried, for the summary of the run."""
    return lambda *words: request.node.user_properties.append(("tried", list(map(str, words))))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many places of faults were tried, and of which scenario what came of them."""
    reports = [one for kind in ("passed", "failed") for one in terminalreporter.getreports(kind)]
    told = [words for report in reports for key, words in report.user_properties if key == "tried"]
    if told:
        terminalreporter.write_line(
            f"{len(told)} places of storage faults tried (FAULTS_SEED={SEED})"
        )
    by_scenario: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for scenario, kind, outcome in (words for words in told if words):
        by_scenario[scenario].append((kind, outcome))
    for scenario, ends in sorted(by_scenario.items()):
        kinds = len({kind for kind, _ in ends})
        outcomes = Counter(outcome for _, outcome in ends).most_common()
        counted = "; ".join(f"{count} {outcome}" for outcome, count in outcomes)
        terminalreporter.write_line(f"  {scenario}: {len(ends)} of {kinds} kinds: {counted}")
