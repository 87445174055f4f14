"""The use case behind `jobs/schedule`: store a job that runs once at a time, or by its schedule."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from scheduler.api.jobs import JobReply, Jobs
from scheduler.clock import Clock
from scheduler.dispatch.ids import scheduled_id
from scheduler.errors import FieldError, InvalidRequest, ScheduleError
from scheduler.schedule.once import resolve_once
from scheduler.schedule.zones import resolve_timezone
from scheduler.security.audit import Caller
from scheduler.security.principals import Principal

_FIELDS = ("job", "scheduled_time", "timezone")


class Schedules:
    """Stores jobs together with the time of their run."""

    def __init__(self, jobs: Jobs, clock: Clock) -> None:
        self._jobs = jobs
        self._clock = clock

    async def schedule(
        self, caller: Caller, principal: Principal, body: Mapping[str, Any]
    ) -> JobReply:
        """Stores `job`; with `scheduled_time` it runs once then, else by its own schedule.

        `timezone` is the job's zone where the job names none, and the zone that a
        `scheduled_time` without an offset is read in.

        Raises:
            InvalidRequest: with every fault; a time in the past is one.
            Conflict: `job_exists`.
        """
        document, timezone = _read(body)
        now = self._clock.now()
        if (text := body.get("scheduled_time")) is not None:
            at = _coming_time(text, timezone, now)
            # In the job's own zone it stays as it was written; read in another zone, it needs that
            # zone's offset to stay the instant that was meant.
            own = _zone_of(document) == timezone
            document["schedule"] = {"type": "once", "expression": text if own else at.isoformat()}
        elif document.get("schedule") is None:
            raise InvalidRequest.of(
                "/scheduled_time", "missing", "say when: give scheduled_time, or the job a schedule"
            )
        job = self._jobs.parse(principal, document, where="/job")
        reply = await self._jobs.store(caller, job, "schedule_job")
        runs = reply.body["next_runs"]
        answer: dict[str, Any] = {
            "message": f"job {job.id} scheduled",
            "job_id": job.id,
            "scheduled_time": runs[0]["local"] if runs else None,
            "timezone": job.timezone,
            "status": "scheduled" if runs else "disabled",
            "next_runs": runs,
            "warnings": reply.body["warnings"],
        }
        if runs:
            nominal = datetime.fromisoformat(runs[0]["utc"])
            answer["execution_id"] = scheduled_id(job.id, nominal)
        return JobReply(answer, reply.etag, created=True)


def _read(body: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
    faults = [
        FieldError(f"/{name}", "unknown_field", f"is no field here; there are {', '.join(_FIELDS)}")
        for name in body
        if name not in _FIELDS
    ]
    job = body.get("job")
    if not isinstance(job, dict):
        faults.append(FieldError("/job", "missing", "must be an object: the job to store"))
    for name in ("scheduled_time", "timezone"):
        if body.get(name) is not None and not isinstance(body[name], str):
            faults.append(FieldError(f"/{name}", "wrong_type", "must be a string"))
    if faults or not isinstance(job, dict):
        raise InvalidRequest(faults)
    document = dict(job)
    if document.get("timezone") is None and body.get("timezone") is not None:
        document["timezone"] = resolve_timezone(body["timezone"])
    return document, _zone_to_read_in(body.get("timezone"), document.get("timezone"))


def _zone_to_read_in(named: str | None, own: object) -> str:
    if named is not None:
        return resolve_timezone(named)
    try:
        return resolve_timezone(own if isinstance(own, str) else "UTC")
    except ScheduleError as error:
        raise error.under("/job") from None


def _zone_of(document: Mapping[str, Any]) -> str | None:
    try:
        return resolve_timezone(str(document.get("timezone") or "UTC"))
    except ScheduleError:
        return None  # reading the job tells


def _coming_time(text: str, timezone: str, now: datetime) -> datetime:
    try:
        at = resolve_once(text, timezone).instant
    except ScheduleError as error:
        raise InvalidRequest.of("/scheduled_time", error.code, error.message) from None
    if at <= now:
        raise InvalidRequest.of(
            "/scheduled_time",
            "in_the_past",
            f"{text} is not ahead: it was {at:%Y-%m-%dT%H:%M:%SZ}, and it is"
            f" {now:%Y-%m-%dT%H:%M:%SZ}",
        )
    return at.astimezone(ZoneInfo(timezone))
