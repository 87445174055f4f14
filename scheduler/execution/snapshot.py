"""A run row as a step's message may carry it: where it is still of that version, a read is saved.

It is the states of an execution and no more: no definition, no output, no secret.
"""

import json
from datetime import datetime

from scheduler.execution.records import RUN_INSTANTS, run_columns, run_of
from scheduler.execution.rules.model import Run
from scheduler.execution.store import Stored
from scheduler.jobs.model import plain_json
from scheduler.storage.tables import Row, Value

MAX_CHARACTERS = 3000
"""A longer one costs more to send and to keep than the read that it saves."""


def snapshot_of(run: Run) -> str | None:
    """The text of a run row; None where it is too long to be sent along."""
    columns = {name: value for name, value in run_columns(run).items() if value not in ("", None)}
    text = json.dumps(columns, ensure_ascii=False, separators=(",", ":"), default=plain_json)
    return text if len(text) <= MAX_CHARACTERS else None


def run_in(snapshot: str, etag: str) -> Stored[Run] | None:
    """The run row of a message; None where its text cannot be read: the row itself then is."""
    try:
        values: dict[str, Value] = json.loads(snapshot)
        for name in RUN_INSTANTS & values.keys():
            values[name] = datetime.fromisoformat(str(values[name]))
        return Stored(run_of(Row("", "", values, etag)), etag)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
