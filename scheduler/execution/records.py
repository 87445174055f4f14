"""Run rows and step rows as stored, and back; a new field has a default, for the old rows."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from scheduler.dispatch.ids import ExecutionId, Trigger
from scheduler.execution.rules.model import Attempt, CancelRequest, Run, StepRecord, StepState
from scheduler.execution.rules.states import RunState, StepStatus
from scheduler.jobs.model import Overlap, StepId, known_fields, plain_json
from scheduler.storage.tables import Row, Value
from scheduler.storage.values import instant, number, optional_instant, optional_text

SCHEMA = 1


RUN_INSTANTS = frozenset(
    {
        "scheduled_time",
        "created_at",
        "deadline",
        "progress_at",
        "start_time",
        "end_time",
        "counted_from",
    }
)
"""The columns of a run row that are instants."""


def run_columns(run: Run) -> dict[str, Value]:
    """A run row's values."""
    steps = [_compact(step) for step in run.steps]
    return {
        "v": SCHEMA,
        "execution_id": run.execution_id,
        "job_name": run.job_name,
        "timezone": run.timezone,
        "definition": run.definition,
        "state": run.state,
        "trigger": run.trigger,
        "scheduled_time": run.scheduled_time,
        "created_at": run.created_at,
        "deadline": run.deadline,
        "progress_at": run.progress_at,
        "start_time": run.start_time,
        "end_time": run.end_time,
        "overlap": run.overlap,
        "priority": run.priority,
        "holds_current": run.holds_current,
        "slot": run.slot,
        "slot_etag": run.slot_etag,
        "message": run.message,
        "counted_from": run.counted_from,
        "cancel": _text_of(run.cancel),
        "out_of_time": run.out_of_time or None,
        "requested_by": run.requested_by,
        "inline": run.inline,
        "followed": run.followed or None,
        "retried": " ".join(run.retried) or None,
        "steps": json.dumps(steps, separators=(",", ":"), default=plain_json),
    }


def run_of(row: Row) -> Run:
    """Reads a run row."""
    values = row.values
    return Run(
        execution_id=ExecutionId(str(values["execution_id"])),
        job_name=str(values["job_name"]),
        timezone=str(values["timezone"]),
        definition=str(values["definition"]),
        state=RunState(str(values["state"])),
        trigger=Trigger(str(values["trigger"])),
        scheduled_time=instant(values["scheduled_time"]),
        created_at=instant(values["created_at"]),
        deadline=instant(values["deadline"]),
        progress_at=instant(values["progress_at"]),
        start_time=optional_instant(values.get("start_time")),
        end_time=optional_instant(values.get("end_time")),
        overlap=Overlap(str(values.get("overlap") or Overlap.SKIP)),
        priority=number(values.get("priority")),
        holds_current=bool(values.get("holds_current")),
        slot=optional_text(values.get("slot")),
        slot_etag=optional_text(values.get("slot_etag")),
        message=str(values.get("message") or ""),
        counted_from=optional_instant(values.get("counted_from")),
        cancel=_cancel_of(optional_text(values.get("cancel"))),
        out_of_time=bool(values.get("out_of_time")),
        requested_by=str(values.get("requested_by") or ""),
        inline=bool(values.get("inline")),
        followed=bool(values.get("followed")),
        retried=tuple(ExecutionId(one) for one in str(values.get("retried") or "").split()),
        steps=tuple(_step_state(step) for step in json.loads(str(values["steps"]))),
    )


def step_columns(record: StepRecord) -> dict[str, Value]:
    """A step row's values."""
    attempts = [asdict(attempt) for attempt in record.attempts]
    return {
        "v": SCHEMA,
        "id": record.id,
        "name": record.name,
        "type": record.type,
        "status": record.status,
        "attempts": json.dumps(
            attempts, ensure_ascii=False, separators=(",", ":"), default=plain_json
        ),
        "fence": record.fence,
        "lease_until": record.lease_until,
        "cancel_requested": record.cancel_requested or None,
        "start_time": record.start_time,
        "end_time": record.end_time,
        "output": record.output,
        "output_is_text": record.output_is_text or None,
        "output_truncated": record.output_truncated,
        "output_blob": record.output_blob,
        "error_code": record.error_code,
        "error_message": record.error_message,
        "metadata": json.dumps(dict(record.metadata or {}), ensure_ascii=False),
        "waiting_state": record.waiting_state,
        "published": _json(record.published),
    }


def step_of(row: Row) -> StepRecord:
    """Reads a step row."""
    values = row.values
    metadata, published = values.get("metadata"), values.get("published")
    return StepRecord(
        id=StepId(str(values["id"])),
        name=str(values["name"]),
        type=str(values["type"]),
        status=StepStatus(str(values["status"])),
        attempts=tuple(_attempt(attempt) for attempt in json.loads(str(values["attempts"]))),
        fence=optional_text(values.get("fence")),
        lease_until=optional_instant(values.get("lease_until")),
        cancel_requested=bool(values.get("cancel_requested")),
        start_time=optional_instant(values.get("start_time")),
        end_time=optional_instant(values.get("end_time")),
        output=optional_text(values.get("output")),
        output_is_text=bool(values.get("output_is_text")),
        output_truncated=bool(values.get("output_truncated")),
        output_blob=optional_text(values.get("output_blob")),
        error_code=optional_text(values.get("error_code")),
        error_message=optional_text(values.get("error_message")),
        metadata=json.loads(str(metadata)) if metadata else None,
        waiting_state=optional_text(values.get("waiting_state")),
        published=json.loads(str(published)) if published else None,
    )


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(dict(value), ensure_ascii=False)


def _text_of(cancel: CancelRequest | None) -> str | None:
    return None if cancel is None else json.dumps(asdict(cancel), default=plain_json)


def _cancel_of(text: str | None) -> CancelRequest | None:
    if text is None:
        return None
    document = json.loads(text)
    at = datetime.fromisoformat(document["at"])
    return CancelRequest(**{**known_fields(CancelRequest, document), "at": at})


def _compact(step: StepState) -> dict[str, Any]:
    """A step's state without its unset fields: a hundred of them must fit one property."""
    unset = StepState(id=step.id)
    return {"id": step.id} | {
        name: value for name, value in asdict(step).items() if value != getattr(unset, name)
    }


def _step_state(document: Mapping[str, Any]) -> StepState:
    instants = {
        name: datetime.fromisoformat(document[name]) if document.get(name) else None
        for name in ("wake_at", "wait_until")
    }
    return StepState(
        **{
            **known_fields(StepState, document),
            "id": StepId(document["id"]),
            "status": StepStatus(document.get("status", StepStatus.PENDING)),
            **instants,
        }
    )


def _attempt(document: Mapping[str, Any]) -> Attempt:
    end = document.get("end_time")
    return Attempt(
        **{
            **known_fields(Attempt, document),
            "start_time": datetime.fromisoformat(document["start_time"]),
            "end_time": datetime.fromisoformat(end) if end else None,
        }
    )
