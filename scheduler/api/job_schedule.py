"""The zone and the schedule of a request's body: read, and their faults noted."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from pydantic import ValidationError

from scheduler.api.body import pointer
from scheduler.api.faults import Faults
from scheduler.api.job_wire import ScheduleBody
from scheduler.errors import ScheduleError
from scheduler.jobs.model import Json, Schedule, ScheduleType
from scheduler.schedule.cron import LONGEST_EXPRESSION
from scheduler.schedule.triggers import validate_schedule
from scheduler.schedule.zones import resolve_timezone


def read_timezone(document: Mapping[str, Json], where: str, faults: Faults) -> str:
    """The zone that a document names, in its canonical form; UTC when it has none or a faulty."""
    name = document.get("timezone", "UTC")
    if not isinstance(name, str) or not name:
        return "UTC"
    try:
        return resolve_timezone(name)
    except ScheduleError as error:
        faults.extend(error.errors, where)
        return "UTC"


def read_schedule(
    document: Mapping[str, Json], timezone: str, anchor: datetime, where: str, faults: Faults
) -> Schedule | None:
    """The `schedule` of a document without nulls, its faults noted; None when it has none that
    could be read, of which the caller notes the faults of shape.

    An interval without an anchor gets `anchor`, without parts of a second.
    """
    raw = document.get("schedule")
    if not isinstance(raw, dict):
        return None
    here = pointer(where, "schedule")
    try:
        body = ScheduleBody.model_validate_json(json.dumps(raw))
    except ValidationError:
        _check_expression(raw, timezone, here, faults)
        return None
    schedule = Schedule(**dict(body))
    if body.type is ScheduleType.INTERVAL:
        start = body.anchor or anchor
        schedule = replace(schedule, anchor=start.replace(microsecond=0))
    elif body.anchor is not None:
        message = "is for schedules of type interval only; leave it out"
        faults.add(pointer(here, "anchor"), "unexpected_field", message)
    try:
        validate_schedule(schedule, timezone)
    except ScheduleError as error:
        faults.extend(error.errors, where if error.field == "timezone" else here)
    return schedule


def _check_expression(raw: Mapping[str, Json], timezone: str, here: str, faults: Faults) -> None:
    """Checks the expression of a schedule whose other fields have faults."""
    kind, expression = raw.get("type"), raw.get("expression")
    if kind in list(ScheduleType) and isinstance(expression, str) and _fits(expression):
        try:
            validate_schedule(Schedule(type=ScheduleType(kind), expression=expression), timezone)
        except ScheduleError as error:
            faults.extend(error.errors, here)


def _fits(expression: str) -> bool:
    return len(expression) <= LONGEST_EXPRESSION
