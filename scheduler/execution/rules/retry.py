"""When a failed step is tried again: arithmetic only."""

import hashlib

MAX_DELAY_SECONDS = 3600
MAX_INTERRUPTIONS = 3
_SPREAD = 0.1


def retry_delay(base_seconds: float, failures: int, seed: str) -> float:
    """Seconds to wait after the `failures`-th failure: doubling, capped, spread by ±10 %.

    The spread is a hash of `seed`, so that whoever computes it again gets the same.
    """
    delay = min(base_seconds * 2 ** (failures - 1), MAX_DELAY_SECONDS)
    digest = hashlib.sha256(f"{seed}:{failures}".encode()).digest()
    fraction = int.from_bytes(digest[:4]) / 0xFFFFFFFF
    return float(delay * (1 + _SPREAD * (2 * fraction - 1)))
