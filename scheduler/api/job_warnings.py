"""The `warnings` of replies about jobs: one form, one place."""

from collections.abc import Iterable
from datetime import datetime

from scheduler.api.job_body import unused_fields
from scheduler.jobs.model import Job
from scheduler.jobs.notice import Notice
from scheduler.schedule.advice import schedule_advice, zone_advice


def job_warnings(job: Job, now: datetime) -> list[dict[str, str]]:
    """What a job's schedule may not mean as written, and what this version does not act upon yet.

    Pointers start at the job.
    """
    advice = schedule_advice(job.schedule, job.timezone, now) if job.schedule is not None else []
    of_zone = zone_advice(job.timezone)
    return shown([*(one.under("/schedule") for one in advice), *of_zone, *unused_fields(job)])


def start_warnings(job: Job) -> list[dict[str, str]]:
    """The warnings about a run of a job that starts now, whatever its schedule."""
    return shown(unused_fields(job))


def shown(notices: Iterable[Notice]) -> list[dict[str, str]]:
    """Warnings as replies show them."""
    return [notice.document() for notice in notices]
