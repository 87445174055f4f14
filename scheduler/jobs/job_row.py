"""The rows of a stored job: its own, and the pointer to its due row."""

from dataclasses import dataclass
from datetime import datetime

from scheduler.jobs.model import Job
from scheduler.storage.tables import Row, Value
from scheduler.storage.values import instant, number, optional_instant, optional_text


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """A job's row: what lists and starts need without its definition."""

    job_id: str
    name: str
    timezone: str
    enabled: bool
    definition: str
    revision: str
    changed_at: datetime
    created_at: datetime
    updated_at: datetime
    step_types: frozenset[str]
    schedule_type: str | None
    expression: str | None
    priority: int
    note: str | None
    paused_at: datetime | None
    resumed_at: datetime | None
    etag: str

    @property
    def version(self) -> str:
        """The `ETag` of the API: that of the definition."""
        return f'"{self.definition[:32]}"'

    def was_paused_at(self, instant: datetime) -> bool:
        """Whether the instant lies in the job's last pause, or in the one that still lasts."""
        if self.paused_at is None or instant < self.paused_at:
            return False
        return self.resumed_at is None or instant <= self.resumed_at


@dataclass(frozen=True, slots=True, kw_only=True)
class NextRun:
    """When a job runs next, as the tick has it; `error` when that could not be computed."""

    due_key: str
    nominal: datetime
    error: str | None


def job_columns(
    job: Job,
    definition: str,
    *,
    revision: str,
    changed: datetime,
    created: datetime,
    now: datetime,
) -> dict[str, Value]:
    """The values of a job's row."""
    return {
        "v": 1,
        "job_id": job.id,
        "name": job.name,
        "timezone": job.timezone,
        "enabled": job.enabled,
        "definition": definition,
        "revision": revision,
        "changed_at": changed,
        "created_at": created,
        "updated_at": now,
        "step_types": ",".join(sorted(job.step_types)),
        "schedule_type": job.schedule.type if job.schedule else "",
        "expression": job.schedule.expression if job.schedule else "",
        "priority": job.priority,
    }


def job_row(row: Row) -> JobRow:
    """Reads a job's row."""
    values = row.values
    return JobRow(
        job_id=str(values["job_id"]),
        name=str(values["name"]),
        timezone=str(values["timezone"]),
        enabled=bool(values["enabled"]),
        definition=str(values["definition"]),
        revision=str(values["revision"]),
        changed_at=instant(values["changed_at"]),
        created_at=instant(values["created_at"]),
        updated_at=instant(values["updated_at"]),
        step_types=frozenset(str(values["step_types"]).split(",")),
        schedule_type=optional_text(values.get("schedule_type")),
        expression=optional_text(values.get("expression")),
        priority=number(values["priority"]),
        note=optional_text(values.get("note")),
        paused_at=optional_instant(values.get("paused_at")),
        resumed_at=optional_instant(values.get("resumed_at")),
        etag=row.etag,
    )


def pause_columns(row: JobRow, job: Job, now: datetime) -> dict[str, Value]:
    """Since when a job is paused, and when it was last resumed, once `row` becomes `job`."""
    paused_at, resumed_at = row.paused_at, row.resumed_at
    if row.enabled and not job.enabled:
        paused_at, resumed_at = now, None
    if job.enabled and not row.enabled:
        resumed_at = now
    return {"paused_at": paused_at, "resumed_at": resumed_at}
