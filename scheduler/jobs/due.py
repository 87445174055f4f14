"""The due row, all that the tick needs to know of a job; and the pointer to it."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime

from scheduler.jobs.model import JobId, Schedule, plain_json, schedule_from
from scheduler.storage.keys import sortable
from scheduler.storage.tables import Row, Value
from scheduler.storage.values import instant, optional_instant, optional_text

DUE_PREFIX = "due:"
NEXT_PREFIX = "next:"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """A job's next run: `nominal` by its schedule, `at` when the tick is to look at it.

    `nominal` is the schedule's first run after `since`: so it is derived, by the zone data of the
    version `tzdata`, and so it can be derived again.

    `decided`: as of when it was decided which of its overdue runs were missed, so that a tick that
    does the work of one that died decides the same.

    The two are one, unless `error` says why the run could not be computed; the row is then tried
    again at `at`.
    """

    job_id: JobId
    timezone: str
    schedule: Schedule
    revision: str
    nominal: datetime
    at: datetime
    tzdata: str
    since: datetime | None = None
    decided: datetime | None = None
    error: str | None = None

    @property
    def key(self) -> str:
        """The row key, sorting by `at`."""
        return f"{DUE_PREFIX}{sortable(self.at)}:{self.job_id}"

    @property
    def next_key(self) -> str:
        """The row key of the pointer."""
        return next_key(self.job_id)

    def columns(self) -> dict[str, Value]:
        """The row's values."""
        return {
            "v": 1,
            "job_id": self.job_id,
            "timezone": self.timezone,
            "schedule": json.dumps(asdict(self.schedule), default=plain_json),
            "revision": self.revision,
            "nominal": self.nominal,
            "at": self.at,
            "tzdata": self.tzdata,
            "since": self.since,
            "decided": self.decided,
            "error": self.error or "",
        }

    def pointer(self) -> dict[str, Value]:
        """The values of the `next:` row."""
        return {"v": 1, "due_key": self.key, "nominal": self.nominal, "error": self.error or ""}


def next_key(job_id: str) -> str:
    """The row key of a job's pointer to its due row."""
    return f"{NEXT_PREFIX}{job_id}"


def due_of(row: Row) -> Due:
    """Reads a due row."""
    values = row.values
    schedule = schedule_from(json.loads(str(values["schedule"])))
    if schedule is None:
        raise TypeError(f"the due row {row.key} has no schedule")
    return Due(
        job_id=JobId(str(values["job_id"])),
        timezone=str(values["timezone"]),
        schedule=schedule,
        revision=str(values["revision"]),
        nominal=instant(values["nominal"]),
        at=instant(values["at"]),
        tzdata=str(values["tzdata"]),
        since=optional_instant(values.get("since")),
        decided=optional_instant(values.get("decided")),
        error=optional_text(values.get("error")),
    )
