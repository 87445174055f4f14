"""Follows an execution to its end."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from office_calendar.api import Api, Document
from office_calendar.failure import Failed

UNFINISHED = ("pending", "running", "retrying")
LOOK_SECONDS = 0.15
LONGEST_LOOK_SECONDS = 1.0


def progress(api: Api, execution_id: str, until: datetime) -> Iterator[Document]:
    """The execution again and again, the last time when it has finished.

    Raises:
        Failed: it is still unfinished at `until`.
    """
    while True:
        execution = api.execution(execution_id)
        yield execution
        if execution["status"] not in UNFINISHED:
            return
        if datetime.now(UTC) > until:
            raise Failed(
                f"{execution_id} is still {execution['status']} at {until:%H:%M:%S} UTC,"
                " when it should long have finished"
            )
        time.sleep(_pause(execution))


def _pause(execution: Document) -> float:
    """Short while it runs; while its time has not come, up to a second."""
    due = datetime.fromisoformat(execution["scheduled_time"])
    ahead = (due - datetime.now(UTC)).total_seconds()
    return min(max(ahead, LOOK_SECONDS), LONGEST_LOOK_SECONDS)
