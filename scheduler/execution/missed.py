"""Starts that come too late: the catch-up rule decides about them too, not only the tick."""

from datetime import datetime, timedelta

from scheduler.jobs.model import CatchUp, Schedule
from scheduler.schedule.plan import LATE_SECONDS
from scheduler.schedule.triggers import next_instant


def reason_given_up(
    schedule: Schedule, timezone: str, scheduled: datetime, due: datetime, now: datetime
) -> str | None:
    """Why the run of an instant is given up now that it can start; None when it is to run.

    `due` is when it was to start: jittered, or the moment at which a tick decided to make up for
    it. Up to 300 s after that a run is merely late.
    """
    if now - due <= timedelta(seconds=LATE_SECONDS):
        return None
    late = now - scheduled
    given_up = f"given up, {round(late.total_seconds())} s late"
    if schedule.catch_up is CatchUp.NONE:
        return f"{given_up} (catch_up: none)"
    if late > timedelta(seconds=schedule.catch_up_window_seconds):
        return f"{given_up} (catch_up_window_seconds: {schedule.catch_up_window_seconds})"
    following = next_instant(schedule, timezone, scheduled)
    if schedule.catch_up is CatchUp.LATEST and following is not None and following <= now:
        return f"{given_up}: a later run makes up for it (catch_up: latest)"
    return None
