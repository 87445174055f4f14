"""How long to wait before a lost race is run again: a little, at random, and longer each time."""

import random
from collections.abc import Iterator

TRIES = 100
_LONGEST_SECONDS = 0.5
_STEP_SECONDS = 0.02


def pauses(tries: int = TRIES) -> Iterator[float]:
    """Seconds to pause after each try that was lost, for as many tries."""
    for number in range(tries):
        yield random.uniform(0, min(_STEP_SECONDS * number, _LONGEST_SECONDS))
