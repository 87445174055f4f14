"""The function app on a clock that is off by some seconds: what a host of a `Fleet` loads.

The whole app takes its time from one clock, so replacing that shifts all that it decides and writes
down. Timers, queues and hidden messages stay as they are: in Azure they are not the app's own.
"""

import os
import runpy
from datetime import datetime, timedelta

from scheduler import clock
from tools.process import ROOT

SECONDS = "FLEET_CLOCK_SECONDS"
"""The environment variable that tells by how much the clock is fast; negative: slow."""


class ShiftedClock(clock.SystemClock):
    """The machine's clock, as one that was set wrong."""

    def now(self) -> datetime:
        """The current instant by this clock, aware, in UTC."""
        return super().now() + timedelta(seconds=float(os.environ.get(SECONDS, "0")))


# Before scheduler.app, which is loaded at the first use, takes the class from there.
clock.SystemClock = ShiftedClock  # type: ignore[misc]
app = runpy.run_path(str(ROOT / "function_app.py"))["app"]
