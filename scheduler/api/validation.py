"""The use case behind `jobs/validate`: what storing a job would say, without storing it."""

import re
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.api.faults import Faults
from scheduler.api.job_body import parse_job, unused_fields, unwrap_job, without_nulls
from scheduler.api.job_changes import PREVIEWED_RUNS, asks_to_make_up, require_a_run, runs_since
from scheduler.api.job_schedule import read_schedule, read_timezone
from scheduler.api.job_steps import WrittenStep, read_step
from scheduler.api.job_warnings import shown
from scheduler.clock import Clock
from scheduler.errors import FieldError, InvalidRequest
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.model import Job, Schedule
from scheduler.jobs.notice import Notice
from scheduler.schedule.advice import schedule_advice, zone_advice
from scheduler.schedule.description import describe
from scheduler.schedule.triggers import preview
from scheduler.schedule.wording import counted
from scheduler.security.principals import Principal, Role
from scheduler.settings import CONNECTION_PREFIX, Settings
from steps.registry import Registry, StepTypeNotFound

_NAME = re.compile(r"\w{1,64}", re.ASCII)
_ON_DEMAND = "On demand only: the job has no schedule"


@dataclass(frozen=True, slots=True)
class _Read:
    """What could be read of a body: the job if it has no fault, else what stands in it."""

    document: Mapping[str, Any]
    where: str
    job: Job | None
    errors: list[FieldError]


class Validation:
    """Checks jobs that nobody has stored yet."""

    def __init__(
        self, *, catalog: Catalog, registry: Registry, settings: Settings, clock: Clock
    ) -> None:
        self._catalog = catalog
        self._registry = registry
        self._connections = settings.connections
        self._clock = clock

    async def check(self, principal: Principal, body: Mapping[str, Any]) -> dict[str, Any]:
        """Tells every fault for which storing the job would be refused, and the warnings.

        Pointers are those of the body that was sent. Nothing is written.
        """
        now = self._clock.now()
        read = self._read(body, now)
        steps = list(_steps(read))
        errors = [*read.errors, *self._forbidden(principal, steps)]
        timezone, schedule = _schedule(read, now)
        warnings = [one.under(read.where) for one in _of_schedule(schedule, timezone, now)]
        warnings += [one.under(read.where) for one in zone_advice(timezone)]
        warnings += [one.under(read.where) for one in unused_fields(read.job)] if read.job else []
        warnings += [notice for step in steps for notice in self._of_step(step)]
        warnings += await self._of_id(read)
        warnings += _of_role(principal)
        enabled = read.document.get("enabled") is not False
        return {
            "message": _message(errors),
            "valid": not errors,
            "validation_errors": [
                {"pointer": one.pointer, "code": one.code, "message": one.message} for one in errors
            ],
            "warnings": shown(_untold(warnings, errors)),
            "next_runs": (
                preview(schedule, timezone, now, PREVIEWED_RUNS) if schedule and enabled else []
            ),
            "description": _description(read, schedule, timezone),
        }

    def _read(self, body: Mapping[str, Any], now: datetime) -> _Read:
        document, where, around = body, "", Faults()
        try:
            document, where = unwrap_job(body, around)
            job = parse_job(
                document,
                registry=self._registry,
                now=now,
                new_id=lambda: f"job-{secrets.token_hex(6)}",
                where=where,
                faults=around,
            )
        except InvalidRequest as error:
            return _Read(without_nulls(document), where, None, error.errors)
        since = runs_since(job, now, makes_up=asks_to_make_up(document))
        try:
            require_a_run(job, since)
        except InvalidRequest as error:
            errors = error.under(where).errors
            return _Read(without_nulls(document), where, job, errors)
        return _Read(without_nulls(document), where, job, [])

    def _forbidden(self, principal: Principal, steps: list[WrittenStep]) -> Iterator[FieldError]:
        """Viewers may use no step type and store nothing: their warning is about the role."""
        if not principal.role.reaches(Role.OPERATOR):
            return
        for step in steps:
            name = step.fields.get("type")
            if name in self._registry.names and not principal.allows_step_type(name):
                message = (
                    f"your key does not allow the step type {name}; "
                    "ask an administrator for a key whose step_types include it"
                )
                yield FieldError(step.place("fields", "type"), "forbidden_step_type", message)

    def _of_step(self, step: WrittenStep) -> Iterator[Notice]:
        name = step.fields.get("type")
        try:
            step_type = self._registry.get(name) if isinstance(name, str) else None
        except StepTypeNotFound:
            return  # a fault, and told as one
        if step_type is None:
            return
        reason = step_type.unavailable_reason()
        if reason is not None:
            place = step.place("fields", "type")
            message = f"steps of type {name} cannot run here now: {reason}"
            yield Notice(place, "step_type_unavailable", message)
        field = step_type.Config.model_fields.get("connection_name")
        connection = step.config.get("connection_name", field.default if field else None)
        if field and isinstance(connection, str) and connection.lower() not in self._connections:
            message = (
                f"there is no connection {connection!r} yet: add the app setting "
                f"{CONNECTION_PREFIX}{connection.upper()} with its ODBC connection string"
            )
            if not _NAME.fullmatch(connection):
                message = (
                    "is the name of a connection, of letters, digits and _: put a connection "
                    f"string into the app setting {CONNECTION_PREFIX}<NAME>, and write <NAME>"
                )
            yield Notice(step.place("config", "connection_name"), "unknown_connection", message)

    async def _of_id(self, read: _Read) -> list[Notice]:
        job_id = read.document.get("id")
        if not isinstance(job_id, str) or await self._catalog.find(job_id) is None:
            return []
        message = f"there is a job {job_id!r} already: PUT replaces it, POST is refused"
        return [Notice(f"{read.where}/id", "job_exists", message)]


def _steps(read: _Read) -> Iterator[WrittenStep]:
    steps = read.document.get("steps")
    if isinstance(steps, list):
        for place, step in enumerate(steps):
            if isinstance(step, dict):
                yield read_step(step, place + 1, f"{read.where}/steps/{place}", Faults())


def _schedule(read: _Read, now: datetime) -> tuple[str, Schedule | None]:
    """Zone and schedule, also of a job with faults elsewhere; no schedule when these are wrong."""
    if read.job is not None:
        return read.job.timezone, read.job.schedule
    faults = Faults()
    timezone = read_timezone(read.document, "", faults)
    schedule = read_schedule(read.document, timezone, now, "", faults)
    named = read.document.get("timezone", timezone)
    return timezone, None if faults or not isinstance(named, str) else schedule


def _of_schedule(schedule: Schedule | None, timezone: str, now: datetime) -> list[Notice]:
    if schedule is None:
        return []
    return [one.under("/schedule") for one in schedule_advice(schedule, timezone, now)]


def _untold(warnings: list[Notice], errors: list[FieldError]) -> list[Notice]:
    """The warnings without those of a series that has no run, where that is an error."""
    told = {error.pointer for error in errors}
    return [one for one in warnings if one.code != "series_ends" or one.pointer not in told]


def _of_role(principal: Principal) -> list[Notice]:
    if principal.role.reaches(Role.AUTHOR):
        return []
    message = f"storing a job needs the role {Role.AUTHOR}, and yours is {principal.role}"
    return [Notice("", "role_too_low", message)]


def _description(read: _Read, schedule: Schedule | None, timezone: str) -> str | None:
    if schedule is not None:
        return describe(schedule, timezone)
    return _ON_DEMAND if read.document.get("schedule") is None else None


def _message(errors: list[FieldError]) -> str:
    if not errors:
        return "the job is valid; nothing was stored"
    return f"the job has {counted(len(errors), 'fault')}; nothing was stored"
