"""Which of the many places of a fault are tried: a sample, or with FAULTS=all every one."""

import os
from collections.abc import Callable, Iterator
from itertools import count

import pytest

ALL = os.environ.get("FAULTS") == "all"
LONG = 3_600
"""Seconds that a test of every place may take."""
SHORT = 60

fault_tests = [pytest.mark.faults, pytest.mark.timeout(LONG if ALL else SHORT)]
"""The marks of a module whose tests `make faults` runs in full."""

type Tried = Callable[[], None]
"""Counts a place that has been tried; what the fixture `tried` gives."""


def places(sampled: Iterator[int] | range) -> Iterator[int]:
    """The places of requests to break, from 1: all until the test has run out of them, or some."""
    return count(1) if ALL else iter(sampled)
