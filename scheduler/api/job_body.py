"""A job from a request: every fault at once, each with its pointer, or the job itself."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from scheduler.api.body import pointer
from scheduler.api.faults import Faults, kind_of, pointer_of, unknown_field
from scheduler.api.job_graph import check_graph
from scheduler.api.job_schedule import read_schedule, read_timezone
from scheduler.api.job_steps import (
    WrittenStep,
    check_config,
    read_step,
)
from scheduler.api.job_wire import (
    FORMATS,
    MAX_JOB_BYTES,
    MAX_STEPS,
    JobBody,
    NotificationBody,
    ScheduleBody,
    StepBody,
    json_bytes,
)
from scheduler.dispatch.ids import JOB_ID_PATTERN, is_job_id
from scheduler.jobs import templates
from scheduler.jobs.model import Job, JobId, Json, Schedule, StepId, StepSpec
from scheduler.jobs.notice import Notice
from steps.registry import Registry

VIEW_FIELDS = frozenset({"created_at", "updated_at", "note", "schedule_error"})
"""What a job's view has beside its definition."""
NOTIFICATIONS = ("on_failure", "on_success", "on_late")
_OWNERS: dict[str, tuple[str, type[BaseModel]]] = {
    "": ("a job", JobBody),
    "schedule": ("a schedule", ScheduleBody),
    **{name: (name, NotificationBody) for name in NOTIFICATIONS},
}


def parse_job(
    document: Mapping[str, Json],
    *,
    registry: Registry,
    now: datetime,
    new_id: Callable[[], str],
    job_id: str | None = None,
    anchor: datetime | None = None,
    where: str = "",
    faults: Faults | None = None,
) -> Job:
    """Reads a job; a field that is null counts as absent.

    `job_id` is the id that the path names: the body's must be absent or the same. `anchor` is what
    an interval without an anchor of its own counts from, `now` when None: pass the stored one when
    a job is changed. `where` is the pointer of the document in the request's body, `faults` are
    those that have been found around it.

    Raises:
        InvalidRequest: with all faults; the codes are listed in `docs/errors.md`.
    """
    faults = Faults() if faults is None else faults
    if json_bytes(document) > MAX_JOB_BYTES:
        faults.add(where, "too_large", f"a job is at most {MAX_JOB_BYTES} bytes (256 KiB) of JSON")
        faults.check()
    canonical = without_nulls(document)
    steps = _read_steps(canonical, where, faults)
    body = _validate(canonical, steps, where, faults)
    timezone = read_timezone(canonical, where, faults)
    schedule = read_schedule(canonical, timezone, anchor or now, where, faults)
    for step in steps:
        check_config(step, registry, faults)
    check_graph(steps, faults)
    _check_notifications(canonical, where, faults)
    if job_id is not None:
        _check_path_id(job_id, canonical, where, faults)
    faults.check()
    if body is None:
        raise AssertionError("a body without faults is a body")
    made_id = job_id or body.id or new_id()
    return _job(body, steps, id=made_id, timezone=timezone, schedule=schedule)


def unwrap_job(
    document: Mapping[str, Json], faults: Faults | None = None
) -> tuple[dict[str, Json], str]:
    """The job of a body that holds it bare or in `{job: …}`, and its pointer.

    What only a job's view has is left out: what was read may be sent back as it is. What stands
    beside `job` is noted in `faults`, for `parse_job` to go on with; without them it ends here.

    Raises:
        InvalidRequest: `job` is there and no object, or something stands beside it.
    """
    if "job" not in document:
        return without_view(document), ""
    job = document["job"]
    found = Faults() if faults is None else faults
    for name in document:
        if name != "job":
            message = "is not read beside job; put it into the job, or leave it out"
            found.add(pointer("", name), "unknown_field", message)
    if not isinstance(job, dict):
        found.add("/job", "wrong_type", f"must be an object, not {kind_of(job)}")
        found.check()
    elif faults is None:
        found.check()
    return without_view(job), "/job"


def without_view(document: Mapping[str, Json]) -> dict[str, Json]:
    """A job's document without what its view has beside the definition."""
    return {name: value for name, value in document.items() if name not in VIEW_FIELDS}


def unused_fields(job: Job) -> list[Notice]:
    """What this version keeps and returns, but does not act upon yet."""
    return [
        Notice(
            f"/{name}",
            "not_used_yet",
            f"{name} is kept, but this version sends no notifications yet",
        )
        for name in NOTIFICATIONS
        if getattr(job, name) is not None
    ]


def without_nulls(document: Mapping[str, Json]) -> dict[str, Json]:
    """A job's document without the fields that are null, which means absent."""
    kept = {name: value for name, value in document.items() if value is not None}
    for name in ("schedule", *NOTIFICATIONS):
        if isinstance(kept.get(name), dict):
            kept[name] = {key: value for key, value in kept[name].items() if value is not None}
    return kept


def _check_path_id(job_id: str, document: dict[str, Json], where: str, faults: Faults) -> None:
    here = pointer(where, "id")
    if not is_job_id(job_id):
        faults.add(here, "invalid_format", f"in the path {FORMATS[JOB_ID_PATTERN]}")
    elif document.get("id", job_id) != job_id:
        message = f"must be {job_id!r}, as in the path, or be left out"
        faults.add(here, "id_mismatch", message)


def _read_steps(document: dict[str, Json], where: str, faults: Faults) -> list[WrittenStep]:
    """The steps in their written form; in the document, their common fields take their place."""
    raw = document.get("steps")
    if not isinstance(raw, list) or len(raw) > MAX_STEPS:
        return []
    steps = []
    for place, step in enumerate(raw):
        here = pointer(pointer(where, "steps"), place)
        if isinstance(step, dict):
            steps.append(read_step(step, place + 1, here, faults))
    written = iter(steps)
    document["steps"] = [next(written).fields if isinstance(step, dict) else step for step in raw]
    return steps


def _validate(
    document: dict[str, Json], steps: list[WrittenStep], where: str, faults: Faults
) -> JobBody | None:
    try:
        return JobBody.model_validate_json(json.dumps(document))
    except ValidationError as error:
        by_fields = {id(step.fields): step for step in steps}
        for detail in error.errors(include_url=False):
            if faults.full:
                return None
            _add(detail, document, by_fields, where, faults)
        return None


def _add(
    detail: ErrorDetails,
    document: dict[str, Json],
    steps: Mapping[int, WrittenStep],
    where: str,
    faults: Faults,
) -> None:
    match detail["loc"]:
        case ("steps", int(place), str(name), *_):
            step = steps[id(document["steps"][place])]
            base = step.place("fields", name)
            where = pointer_of(detail, step.fields.get(name), base, skip=3)
            faults.add_detail(detail, where)
        case (*owner, str(name)) if detail["type"] == "extra_forbidden":
            where = pointer_of(detail, document, where)
            text, model = _OWNERS["".join(map(str, owner))]
            faults.add(where, "unknown_field", unknown_field(name, text, model.model_fields))
        case _:
            faults.add_detail(detail, pointer_of(detail, document, where))


def _check_notifications(document: dict[str, Json], where: str, faults: Faults) -> None:
    for name in NOTIFICATIONS:
        value = document.get(name)
        if not isinstance(value, dict):
            continue
        for part in ("webhook", "headers", "body"):
            here = pointer(pointer(where, name), part)
            look = templates.refuse if part == "webhook" else templates.check
            faults.extend(look(value.get(part), here))


def _job(
    body: JobBody, steps: list[WrittenStep], *, id: str, timezone: str, schedule: Schedule | None
) -> Job:
    return Job(
        id=JobId(id),
        name=body.name,
        description=body.description,
        timezone=timezone,
        enabled=body.enabled,
        steps=tuple(
            _step(step, body, written.config)
            for step, written in zip(body.steps, steps, strict=True)
        ),
        schedule=schedule,
        max_retries=body.max_retries,
        retry_delay=_number(body.retry_delay),
        timeout_seconds=_number(body.timeout_seconds),
        max_parallel=body.max_parallel,
        priority=body.priority,
        tags=tuple(body.tags),
        metadata=body.metadata,
        **{name: _notification(getattr(body, name)) for name in NOTIFICATIONS},
    )


def _step(step: StepBody, job: JobBody, config: Mapping[str, Json]) -> StepSpec:
    retries, delay = step.max_retries, step.retry_delay
    return StepSpec(
        id=StepId(step.id),
        name=step.name or step.id,
        type=step.type,
        config=config,
        timeout=_number(step.timeout),
        max_retries=job.max_retries if retries is None else retries,
        retry_delay=_number(job.retry_delay if delay is None else delay),
        continue_on_failure=step.continue_on_failure,
        on_interrupt=step.on_interrupt,
        depends_on=(
            None if step.depends_on is None else tuple(StepId(id) for id in step.depends_on)
        ),
        run_if=step.run_if,
        publish=tuple(step.publish),
    )


def _notification(body: NotificationBody | None) -> dict[str, Any] | None:
    return None if body is None else body.model_dump(exclude_none=True)


def _number(value: float) -> float:
    """Whole seconds as int, so that equal jobs have equal text."""
    return int(value) if float(value).is_integer() else value
