"""`make bench-engine`: measures executions, prints what it finds, and writes it as JSON.

python -m benchmarks.engine --only chains reading --out .local/bench-engine.json
"""

from benchmarks import (
    admission,
    chains,
    lateness,
    reading,
    recovery,
    retention,
    side_by_side,
    throughput,
)
from benchmarks.suite import Parts, main

PARTS: Parts = {
    "chains": ("Storage operations of scheduled chains", chains.measure),
    "throughput": ("Steps a second, against the bare SDK", throughput.measure),
    "reading": ("Reading an execution and the status, by history", reading.measure),
    "side_by_side": ("Steps of one execution on several hosts", side_by_side.measure),
    "retention": ("Erasing what is too old", retention.measure),
    "lateness": ("Lateness of starts on a real host", lateness.measure),
    "admission": ("At most fifty at once in a zone", admission.measure),
    "recovery": ("Steps whose host is killed", recovery.measure),
}

if __name__ == "__main__":
    main("engine", __doc__, PARTS)
