"""What the executions of a job come to: counted by upkeep, some minutes old."""

from typing import Any

from scheduler.execution.history.totals import TotalsTable
from scheduler.execution.upkeep.pulse import Pulses


class JobTotals:
    """Shows the totals of jobs."""

    def __init__(self, totals: TotalsTable, pulses: Pulses) -> None:
        self._totals = totals
        self._pulses = pulses

    async def read(self, job_id: str) -> dict[str, Any]:
        """A job's totals; what ended up to `as_of` is in them.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        pulse = await self._pulses.read()  # before: what is counted meanwhile makes them younger
        totals = await self._totals.read(job_id)
        return {
            "as_of": pulse.counted_through,
            "since": totals.since,
            "executions": sum(totals.by_outcome.values()),
            "by_status": {state.value: count for state, count in totals.by_outcome.items()},
            "average_seconds": round(totals.seconds / totals.timed, 3) if totals.timed else None,
            "longest_seconds": round(totals.longest_seconds, 3) if totals.timed else None,
            "last_success": totals.last_success,
            "last_failure": totals.last_failure,
        }
