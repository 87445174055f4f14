"""An execution as the API shows it."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from scheduler.execution.rules.model import CancelRequest, Run, StepRecord, StepState
from scheduler.execution.rules.skipped import why_skipped
from scheduler.execution.rules.states import RunState, StepStatus
from scheduler.jobs.model import Job, StepSpec

_SENTENCES = {
    RunState.PENDING: "waiting to start",
    RunState.RUNNING: "running",
    RunState.RETRYING: "waiting to try a step again",
    RunState.SUCCESS: "every step succeeded",
    RunState.PARTIAL_SUCCESS: "done, though a step that may fail did fail",
    RunState.CANCELLED: "cancelled",
    RunState.TIMEOUT: "ran out of time",
    RunState.SKIPPED: "skipped",
}


def execution_document(
    run: Run, job: Job | None, records: Mapping[int, StepRecord]
) -> dict[str, Any]:
    """The JSON of an execution; steps that have not started yet are in it too.

    Without its job's definition it is shown as far as its own rows tell.
    """
    specs = {spec.id: spec for spec in job.steps} if job is not None else {}
    steps = [
        _step(specs.get(state.id), state, records.get(place))
        | {
            "skip_reason": why_skipped(run, job, place),
            "copied_from": _source(run, state),
            "output_url": _output_url(run, state, records.get(place)),
        }
        for place, state in enumerate(run.steps)
    ]
    return {
        "message": _message(run, steps),
        "execution_id": run.execution_id,
        "job_id": run.job_id,
        "job_name": run.job_name,
        "status": run.state.value,
        "timezone": run.timezone,
        "scheduled_time": run.scheduled_time,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "duration_seconds": _seconds(run.start_time, run.end_time),
        "trigger": run.trigger.value,
        "requested_by": run.requested_by or None,
        "cancel": _cancel(run.cancel),
        "retry_of": run.retried[-1] if run.retried else None,
        "retried": list(run.retried),
        "retries": [],
        "attempt": max((step.attempt for step in run.steps), default=1) or 1,
        "steps": steps,
        "step_count": len(steps),
        "successful_steps": _count(run, StepStatus.SUCCESS),
        "failed_steps": _count(run, StepStatus.FAILED) + _count(run, StepStatus.TIMEOUT),
        "metadata": dict(job.metadata) if job is not None else {},
    }


def _source(run: Run, state: StepState) -> str | None:
    return run.retried[state.copied] if state.copied is not None else None


def _output_url(run: Run, state: StepState, record: StepRecord | None) -> str | None:
    """Where the whole output is; None where there is none, or only its first part was kept."""
    if record is None or record.output is None:
        return None
    if record.output_truncated and record.output_blob is None:
        return None
    return f"/api/v2/executions/{run.execution_id}/steps/{state.id}/output"


def _message(run: Run, steps: list[dict[str, Any]]) -> str:
    if run.message:
        return run.message
    if run.cancel is not None and not run.state.finished:
        return "being cancelled: its step that runs has been told to stop"
    if run.state is RunState.FAILED:
        failed = [step for step in steps if step["status"] in ("failed", "timeout")]
        if failed:
            return f"step {failed[0]['step_id']} failed: {failed[0]['error_message']}"
        return "failed"
    return _SENTENCES[run.state]


def _cancel(cancel: CancelRequest | None) -> dict[str, Any] | None:
    if cancel is None:
        return None
    return {"requested_at": cancel.at, "by": cancel.by, "reason": cancel.reason or None}


def _step(spec: StepSpec | None, state: StepState, record: StepRecord | None) -> dict[str, Any]:
    named = spec or record
    document: dict[str, Any] = {
        "step_id": state.id,
        "step_name": named.name if named is not None else state.id,
        "step_type": named.type if named is not None else None,
        "status": state.status.value,
        "attempts": state.attempt,
        "next_attempt_at": state.wake_at,
        "start_time": None,
        "end_time": None,
        "duration_seconds": None,
        "output": None,
        "output_truncated": False,
        "output_message": None,
        "error_message": None,
        "error_code": None,
        "metadata": {},
        "published": {},
        "attempt_history": [],
    }
    return document if record is None else document | _recorded(record)


def _recorded(record: StepRecord) -> dict[str, Any]:
    return {
        "start_time": record.start_time,
        "end_time": record.end_time,
        "duration_seconds": _seconds(record.start_time, record.end_time),
        "output": _output(record),
        "output_truncated": record.output_truncated,
        "output_message": _cut(record),
        "error_message": record.error_message,
        "error_code": record.error_code,
        "metadata": dict(record.metadata or {}),
        "published": dict(record.published or {}),
        "attempt_history": [
            {
                "attempt": attempt.number,
                "outcome": attempt.outcome,
                "start_time": attempt.start_time,
                "end_time": attempt.end_time,
                "duration_seconds": _seconds(attempt.start_time, attempt.end_time),
                "error_code": attempt.error_code,
                "error_message": attempt.error_message,
            }
            for attempt in record.attempts
        ],
    }


def _cut(record: StepRecord) -> str | None:
    """How much of an output is missing."""
    if not record.output_truncated or record.output is None:
        return None
    size = (record.metadata or {}).get("output_characters")
    of = f" of {size}" if isinstance(size, int) else ""
    return f"only the first {len(record.output)}{of} characters are shown"


def _output(record: StepRecord) -> Any:  # noqa: ANN401
    if record.output is None or record.output_truncated:
        return record.output
    return json.loads(record.output)


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    if start is None or end is None:
        return None
    return round((end - start).total_seconds(), 3)


def _count(run: Run, status: StepStatus) -> int:
    return sum(step.status is status for step in run.steps)
