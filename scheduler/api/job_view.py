"""A job as the API shows it: what a client may change and send back."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduler.api.job_steps import STEP_FIELDS
from scheduler.jobs.model import Job, Schedule, StepSpec

_RESERVED = STEP_FIELDS | {"config", "step_id", "step_name", "step_type"}


def job_document(job: Job) -> dict[str, Any]:
    """The JSON of a job; `parse_job` reads it back to an equal one.

    Fields without a value are left out, and so are a step's retries where they equal the job's,
    so that a later change of the job's reaches them. A type's own fields stand beside the step's
    unless they share a name with one.
    """
    document: dict[str, Any] = {
        "id": job.id,
        "name": job.name,
        "description": job.description,
        "timezone": job.timezone,
        "enabled": job.enabled,
        "steps": [_step(step, job) for step in job.steps],
        "schedule": None if job.schedule is None else schedule_document(job.schedule),
        "max_retries": job.max_retries,
        "retry_delay": job.retry_delay,
        "timeout_seconds": job.timeout_seconds,
        "max_parallel": job.max_parallel,
        "priority": job.priority,
        "on_failure": _object(job.on_failure),
        "on_success": _object(job.on_success),
        "on_late": _object(job.on_late),
        "tags": list(job.tags),
        "metadata": dict(job.metadata),
    }
    return _given(document)


def _step(step: StepSpec, job: Job) -> dict[str, Any]:
    beside = {name: value for name, value in step.config.items() if name not in _RESERVED}
    inside = {name: value for name, value in step.config.items() if name in _RESERVED}
    document: dict[str, Any] = {
        "id": step.id,
        "name": step.name,
        "type": step.type,
        **beside,
        "config": inside or None,
        "timeout": step.timeout,
        "max_retries": None if step.max_retries == job.max_retries else step.max_retries,
        "retry_delay": None if step.retry_delay == job.retry_delay else step.retry_delay,
        "continue_on_failure": step.continue_on_failure,
        "on_interrupt": step.on_interrupt.value,
        "depends_on": None if step.depends_on is None else list(step.depends_on),
        "run_if": step.run_if.value,
        "publish": list(step.publish),
    }
    return _given(document)


def schedule_document(schedule: Schedule) -> dict[str, Any]:
    """The JSON of a schedule, with all defaults; fields without a value are left out."""
    return _given(
        {
            "type": schedule.type.value,
            "expression": schedule.expression,
            "anchor": _instant(schedule.anchor),
            "start_at": _instant(schedule.start_at),
            "end_at": _instant(schedule.end_at),
            "jitter_seconds": schedule.jitter_seconds,
            "catch_up": schedule.catch_up.value,
            "catch_up_window_seconds": schedule.catch_up_window_seconds,
            "overlap": schedule.overlap.value,
        }
    )


def _instant(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _object(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if value is None else dict(value)


def _given(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if value is not None}
