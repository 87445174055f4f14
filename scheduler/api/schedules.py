"""The use case behind `jobs/schedule`: store a job that runs once at a time, or by its schedule."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from scheduler.api.body import pointer
from scheduler.api.faults import MOST, unknown_field
from scheduler.api.idempotency import Once
from scheduler.api.job_body import without_view
from scheduler.api.job_changes import JobChanges, JobReply, asks_to_make_up
from scheduler.api.jobs import Jobs
from scheduler.clock import Clock
from scheduler.dispatch.ids import scheduled_id
from scheduler.errors import FieldError, InvalidRequest, ScheduleError
from scheduler.jobs.model import Job
from scheduler.schedule.once import resolve_once
from scheduler.schedule.zones import resolve_timezone
from scheduler.security.audit import Caller
from scheduler.security.principals import Principal

_FIELDS = ("job", "scheduled_time", "timezone")


class Schedules:
    """Stores jobs together with the time of their run."""

    def __init__(self, jobs: Jobs, changes: JobChanges, clock: Clock) -> None:
        self._jobs = jobs
        self._changes = changes
        self._clock = clock

    async def schedule(
        self,
        caller: Caller,
        principal: Principal,
        body: Mapping[str, Any],
        once: Once | None = None,
    ) -> JobReply:
        """Stores `job`; with `scheduled_time` it runs once then, else by its own schedule.

        `timezone` is the job's zone where the job names none, and the zone that a
        `scheduled_time` without an offset is read in. With `once`, the same call again finds what
        the first one stored, and answers as that did.

        Raises:
            InvalidRequest: with every fault; a time in the past is one.
            Conflict: `job_exists`, `job_deleted`.
            IdempotencyKeyReused: the key of `once` stands for another call.
        """
        before = await self._changes.stored_before(once)
        if before is not None:
            return _answer(before)
        faults: list[InvalidRequest] = []
        document = _read(body, self._clock.now(), faults)
        job = self._parsed(principal, document, faults)
        if document is None or job is None or faults:
            raise _together(faults)
        try:
            reply = await self._changes.store(
                caller, job, "schedule_job", makes_up=asks_to_make_up(document), once=once
            )
        except InvalidRequest as error:
            raise error.under("/job") from None
        return _answer(reply)

    def _parsed(
        self,
        principal: Principal,
        document: Mapping[str, Any] | None,
        faults: list[InvalidRequest],
    ) -> Job | None:
        if document is None:
            return None
        try:
            return self._jobs.parse(principal, document, where="/job")
        except InvalidRequest as error:
            faults.append(error)
            return None


def _answer(stored: JobReply) -> JobReply:
    """What the call answers about the job that it stored."""
    job_id, runs = stored.body["job_id"], stored.body["next_runs"]
    answer: dict[str, Any] = {
        "message": f"job {job_id} scheduled",
        "job_id": job_id,
        "scheduled_time": runs[0]["local"] if runs else None,
        "timezone": stored.body["job"]["timezone"],
        "status": "scheduled" if runs else "disabled",
        "next_runs": runs,
        "warnings": stored.body["warnings"],
    }
    if runs:
        answer["execution_id"] = scheduled_id(job_id, datetime.fromisoformat(runs[0]["utc"]))
    return replace(stored, body=answer)


def _read(
    body: Mapping[str, Any], now: datetime, faults: list[InvalidRequest]
) -> dict[str, Any] | None:
    """The job's document with its zone and schedule put in; None when there is no job to read."""
    unknown = [name for name in body if name not in _FIELDS]
    if unknown:
        faults.append(_unknown_fields(unknown))
    document = None
    if isinstance(body.get("job"), dict):
        document = without_view(body["job"])
    else:
        faults.append(InvalidRequest.of("/job", "missing", "must be an object: the job to store"))
    named, text = _text(body, "timezone", faults), _text(body, "scheduled_time", faults)
    timezone = _zone(named, document or {}, faults)
    if document is None:
        return None
    if named is not None and document.get("timezone") is None:
        document["timezone"] = timezone
    if body.get("scheduled_time") is not None:
        document["schedule"] = _once(text, timezone, _zone_of(document), now, faults)
    elif document.get("schedule") is None and not unknown:
        # A field that nobody knows may well be the mistyped time.
        message = "say when: give scheduled_time, or the job a schedule"
        faults.append(InvalidRequest.of("/scheduled_time", "missing", message))
    return document


def _unknown_fields(names: list[str]) -> InvalidRequest:
    return InvalidRequest(
        [
            FieldError(
                pointer("", name), "unknown_field", unknown_field(name, "this call", _FIELDS)
            )
            for name in names[:MOST]
        ]
    )


def _text(body: Mapping[str, Any], name: str, faults: list[InvalidRequest]) -> str | None:
    value = body.get(name)
    if value is None or isinstance(value, str):
        return value
    faults.append(InvalidRequest.of(f"/{name}", "wrong_type", "must be a string"))
    return None


def _zone(
    named: str | None, document: Mapping[str, Any], faults: list[InvalidRequest]
) -> str | None:
    """The zone that a time without an offset is read in; None when what names it is wrong."""
    if named is None:
        return _zone_of(document)
    try:
        return resolve_timezone(named)
    except ScheduleError as error:
        faults.append(error)
        return None


def _zone_of(document: Mapping[str, Any]) -> str | None:
    try:
        return resolve_timezone(str(document.get("timezone") or "UTC"))
    except ScheduleError:
        return None  # reading the job tells


def _once(
    text: str | None,
    timezone: str | None,
    own: str | None,
    now: datetime,
    faults: list[InvalidRequest],
) -> dict[str, str] | None:
    """The schedule of a single run at a time; None when the time or its zone is wrong."""
    if text is None:
        return None
    try:
        at = resolve_once(text, timezone or "UTC").instant
    except ScheduleError as error:
        faults.append(InvalidRequest.of("/scheduled_time", error.fault, error.message))
        return None
    if timezone is None:
        return None
    if at <= now:
        message = (
            f"{text} is not ahead: it was {at:%Y-%m-%dT%H:%M:%SZ}, and it is"
            f" {now:%Y-%m-%dT%H:%M:%SZ}"
        )
        faults.append(InvalidRequest.of("/scheduled_time", "in_the_past", message))
    # In the job's own zone it stays as it was written; read in another zone, it needs that zone's
    # offset to stay the instant that was meant.
    written = text if own == timezone else at.astimezone(ZoneInfo(timezone)).isoformat()
    return {"type": "once", "expression": written}


def _together(faults: list[InvalidRequest]) -> InvalidRequest:
    """One error with the faults of all."""
    return InvalidRequest([fault for error in faults for fault in error.errors])
