"""The use case behind `schedules/preview`: what a schedule means, before any job has it."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from scheduler.api.faults import Faults
from scheduler.api.job_body import without_nulls
from scheduler.api.job_schedule import read_schedule, read_timezone
from scheduler.api.job_view import schedule_document
from scheduler.api.job_warnings import shown
from scheduler.api.job_wire import ScheduleBody
from scheduler.api.wire_model import note_faults
from scheduler.clock import Clock
from scheduler.errors import InvalidRequest, ScheduleError
from scheduler.jobs.model import Schedule, ScheduleType
from scheduler.jobs.notice import Notice
from scheduler.schedule.advice import schedule_advice, zone_advice
from scheduler.schedule.description import describe
from scheduler.schedule.once import resolve_once
from scheduler.schedule.triggers import RunPreview, preview
from scheduler.schedule.zones import tzdata_version

MOST_RUNS = 100
_PART_OF_A_SECOND = re.compile(r"(?<=:\d\d)[.,]\d{1,9}", re.ASCII)


class PreviewBody(BaseModel):
    """A schedule whose runs are asked for."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    schedule: dict[str, Any]
    timezone: str = Field("UTC", min_length=1, max_length=64)
    after: str | None = None
    count: int = Field(10, ge=1, le=MOST_RUNS)


class Previews:
    """Schedules looked at before any job has them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def preview(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Tells a schedule's next runs, its meaning, and what its author may not have meant.

        Raises:
            InvalidRequest: with every fault.
        """
        timezone, schedule, after, count = _read(body, self._clock.now())
        runs = preview(schedule, timezone, after, count)
        warnings = [one.under("/schedule") for one in schedule_advice(schedule, timezone, after)]
        warnings += _ended(schedule, runs, count, warnings)
        warnings += zone_advice(timezone)
        return {
            "message": f"the next run is at {runs[0]['local']}" if runs else "no run is left",
            "timezone": timezone,
            "schedule": schedule_document(schedule),
            "description": describe(schedule, timezone),
            "runs": runs,
            "warnings": shown(warnings),
            "tzdata": tzdata_version(),
        }


def _read(body: Mapping[str, Any], now: datetime) -> tuple[str, Schedule, datetime, int]:
    """The zone, the schedule, the instant that runs come after, and how many are asked for."""
    faults = Faults()
    document = without_nulls(body)
    asked = note_faults(PreviewBody, document, "a preview", faults)
    _note_shape(document.get("schedule"), faults)
    timezone = read_timezone(document, "", faults)
    after = _after(document.get("after"), timezone, now, faults)
    schedule = read_schedule(document, timezone, after, "", faults)
    faults.check()
    if asked is None or schedule is None:
        raise AssertionError("a body without faults has a schedule")
    return timezone, schedule, after, asked.count


def _note_shape(raw: object, faults: Faults) -> None:
    """Notes the faults of the schedule's fields; one that is no object has been noted."""
    if isinstance(raw, dict):
        own = Faults()
        note_faults(ScheduleBody, raw, "a schedule", own)
        try:
            own.check()
        except InvalidRequest as error:
            faults.extend(error.errors, "/schedule")


def _after(text: object, timezone: str, now: datetime, faults: Faults) -> datetime:
    """The instant that runs are to come after; without an offset, on the zone's clock."""
    if not isinstance(text, str):
        return now
    try:
        # Runs are at whole seconds: those after a part of one are those after its beginning.
        return resolve_once(_PART_OF_A_SECOND.sub("", text), timezone).instant
    except ScheduleError as error:
        faults.add("/after", "invalid_time", error.message)
        return now


def _ended(
    schedule: Schedule, runs: list[RunPreview], count: int, warnings: list[Notice]
) -> list[Notice]:
    told = any(one.code == "series_ends" for one in warnings)
    if len(runs) == count or told or schedule.type is ScheduleType.ONCE:
        return []
    pointer = "/schedule/end_at" if schedule.end_at is not None else "/schedule/expression"
    message = f"the series ends: {len(runs)} of the {count} runs asked for are left"
    return [Notice(pointer, "series_ends", message)]
