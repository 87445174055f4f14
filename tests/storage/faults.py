"""Which of the many places of a fault are tried: a sample, or with FAULTS=all every one."""

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import count

import pytest

ALL = os.environ.get("FAULTS") == "all"
SEED = int(os.environ.setdefault("FAULTS_SEED", str(datetime.now(UTC).date().toordinal())))
"""Says whose turn it is: by default the day, so that in time every place has had its turn."""
LONG = 3_600
"""Seconds that a test of every place may take."""
SHORT = 180

fault_tests = [pytest.mark.faults, pytest.mark.timeout(LONG if ALL else SHORT)]
"""The marks of a module whose tests `make faults` runs in full."""

type Tried = Callable[..., None]
"""Counts a place that has been tried; what the fixture `tried` gives.

It may be told the scenario, the kind of the fault, and what came of it, all in words.
"""


def places(sampled: Iterator[int] | range) -> Iterator[int]:
    """The places of requests to break, from 1: all until the test has run out of them, or some."""
    return count(1) if ALL else iter(sampled)
