"""`make bench-tick`: measures the tick, prints what it finds, and writes it as JSON.

python -m benchmarks.tick --only flatness cron --out .local/bench-tick.json
"""

from benchmarks import cron_cost, flatness, full_minute, idle
from benchmarks.bench import Figures
from benchmarks.suite import Parts, main


async def _cron() -> Figures:
    return cron_cost.measure()


PARTS: Parts = {
    "cron": ("The next runs, against croniter alone", _cron),
    "idle": ("Nothing due", idle.measure),
    "full": ("A very full minute", full_minute.measure),
    "flatness": ("A tick among many stored jobs", flatness.measure),
}

if __name__ == "__main__":
    main("tick", __doc__, PARTS)
