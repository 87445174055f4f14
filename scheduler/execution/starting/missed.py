"""Starts that come too late: the catch-up rule decides about them too, not only the tick."""

from datetime import datetime, timedelta

from scheduler.jobs.model import CatchUp, Job
from scheduler.schedule.plan import LATE_SECONDS, lateness_allowed
from scheduler.schedule.triggers import next_instant


def reason_given_up(job: Job, scheduled: datetime, due: datetime, now: datetime) -> str | None:
    """Why the run of an instant is given up now that it can start; None when it is to run.

    `due` is when it was to start: jittered, or the moment at which a tick decided to make up for
    it. Up to 300 s after that a run is merely late. With `latest` it runs however late it is: a
    later one may be as late, so that in a steady backlog none would run.
    """
    schedule = job.schedule
    if schedule is None or now - due <= timedelta(seconds=LATE_SECONDS):
        return None
    late = now - scheduled
    given_up = f"given up, {round(late.total_seconds())} s late"
    if schedule.catch_up is CatchUp.NONE:
        return f"{given_up} (catch_up: none)"
    if late > timedelta(seconds=schedule.catch_up_window_seconds):
        return f"{given_up} (catch_up_window_seconds: {schedule.catch_up_window_seconds})"
    return None


def reason_superseded(
    job: Job, scheduled: datetime, changed_at: datetime, now: datetime
) -> str | None:
    """Why a run that was held need not run: `latest` makes up for the last one of the gap.

    A job counts from its last change, at `changed_at`: only from then on are there later runs.
    """
    schedule = job.schedule
    if schedule is None or schedule.catch_up is not CatchUp.LATEST:
        return None
    if now - scheduled <= lateness_allowed(schedule):
        return None
    following = next_instant(schedule, job.timezone, max(scheduled, changed_at))
    if following is None or following > now:
        return None
    return "a later run makes up for it (catch_up: latest)"
