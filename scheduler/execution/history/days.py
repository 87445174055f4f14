"""The lists of executions that have ended, by the day (UTC) of their end."""

from datetime import date, datetime

from scheduler.dispatch.ids import ExecutionId
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.states import RunState
from scheduler.storage.keys import inverted
from scheduler.storage.tables import Table, Upsert, Value


class DayLists:
    """Enters executions that have ended, and takes them out.

    A day has two lists: of all, and of those that did not succeed; both have the last first. Every
    call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(self, days: Table) -> None:
        self._days = days

    async def enter(self, run: Run) -> None:
        """Enters an execution that has ended; once more is no error."""
        columns: dict[str, Value] = {
            "v": 1,
            "execution_id": run.execution_id,
            "job_id": run.job_id,
            "job_name": run.job_name,
            "timezone": run.timezone,
            "state": run.state,
            "trigger": run.trigger,
            "retried": " ".join(run.retried[-1:]) or None,
            "scheduled_time": run.scheduled_time,
            "start_time": run.start_time,
            "end_time": end_of(run),
        }
        key = _key(run)
        for partition in _lists_of(run):
            await self._days.commit(partition, [Upsert(key, columns)])

    async def take_out(self, run: Run) -> None:
        """Takes an execution out of the lists that it stands in."""
        key = _key(run)
        for partition in _lists_of(run):
            await self._days.remove(partition, [key])


def end_of(run: Run) -> datetime:
    """When an execution ended."""
    return run.end_time or run.progress_at


def list_of_all(day: date) -> str:
    """The partition with all that ended on a day."""
    return f"{day:%Y%m%d}"


def list_of_unsuccessful(day: date) -> str:
    """The partition with those that ended on a day and did not succeed."""
    return f"{day:%Y%m%d}!"


def execution_in(key: str) -> ExecutionId:
    """The execution that an entry with this row key is of."""
    return ExecutionId(key.partition(":")[2])


def _lists_of(run: Run) -> list[str]:
    end = end_of(run)
    unsuccessful = [] if run.state is RunState.SUCCESS else [list_of_unsuccessful(end)]
    return [list_of_all(end), *unsuccessful]


def _key(run: Run) -> str:
    return f"{inverted(end_of(run))}:{run.execution_id}"
