"""From a job to its due row, and from a due row to the runs that it stands for. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scheduler.dispatch.ids import scheduled_id
from scheduler.dispatch.run_index import Announcement, Trigger
from scheduler.jobs.due import Due
from scheduler.jobs.model import CatchUp, Job
from scheduler.schedule.triggers import first_instant, instants, jittered, next_instant
from scheduler.schedule.zones import tzdata_version

LATE_SECONDS = 300
"""A run is missed when it is over this late; until then it simply runs."""
MAX_CATCH_UP = 100
MAX_RUNS_A_LOOK = 5_000
"""How many instants of one row are looked at in one tick."""
ERROR_DELAY = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a due row comes to: the runs to announce now, and the row that takes its place."""

    announcements: Sequence[Announcement]
    following: Due | None


def plan_job(job: Job, revision: str, now: datetime) -> Due | None:
    """The due row of a job as of now; None when it is paused, or never runs by itself."""
    if not job.enabled or job.schedule is None:
        return None
    nominal = first_instant(job.schedule, job.timezone, now)
    if nominal is None:
        return None
    at = jittered(nominal, scheduled_id(job.id, nominal), job.schedule.jitter_seconds)
    return Due(
        job_id=job.id,
        timezone=job.timezone,
        schedule=job.schedule,
        revision=revision,
        nominal=nominal,
        at=at,
        tzdata=tzdata_version(),
    )


def plan_runs(due: Due, now: datetime, horizon: datetime) -> Plan:
    """The runs of a due row up to the horizon, what was missed by its catch-up policy.

    Raises:
        ScheduleError: the schedule cannot be computed.
    """
    nominals = _nominals(due, horizon)
    following = next_instant(due.schedule, due.timezone, nominals[-1])
    missed = [n for n in nominals if _at(due, n) < now - timedelta(seconds=LATE_SECONDS)]
    made_up = _made_up(due, missed, now)
    given_up = missed[: len(missed) - len(made_up)]
    announcements = [_announcement(due, n) for n in (*made_up, *nominals[len(missed) :])]
    if given_up:
        announcements.append(_skip_record(due, given_up))
    return Plan(announcements, _moved(due, following))


def plan_error(due: Due, message: str, now: datetime) -> Due:
    """The due row of a schedule that cannot be computed: tried again in an hour."""
    return replace(due, at=now + ERROR_DELAY, error=message)


def _nominals(due: Due, horizon: datetime) -> list[datetime]:
    nominals = [due.nominal]
    for instant in instants(due.schedule, due.timezone, due.nominal, horizon):
        if _at(due, instant) > horizon or len(nominals) >= MAX_RUNS_A_LOOK:
            break
        nominals.append(instant)
    return nominals


def _at(due: Due, nominal: datetime) -> datetime:
    return jittered(nominal, scheduled_id(due.job_id, nominal), due.schedule.jitter_seconds)


def _made_up(due: Due, missed: Sequence[datetime], now: datetime) -> Sequence[datetime]:
    window = timedelta(seconds=due.schedule.catch_up_window_seconds)
    recent = [nominal for nominal in missed if nominal >= now - window]
    match due.schedule.catch_up:
        case CatchUp.NONE:
            return []
        case CatchUp.LATEST:
            return recent[-1:]
        case CatchUp.ALL:
            return recent[-MAX_CATCH_UP:]


def _announcement(due: Due, nominal: datetime) -> Announcement:
    return Announcement(
        execution_id=scheduled_id(due.job_id, nominal),
        timezone=due.timezone,
        trigger=Trigger.SCHEDULE,
        scheduled=nominal,
        due=_at(due, nominal),
        revision=due.revision,
    )


def _skip_record(due: Due, given_up: Sequence[datetime]) -> Announcement:
    first, last = given_up[0], given_up[-1]
    reason = (
        f"{len(given_up)} missed runs, due from {first:%Y-%m-%dT%H:%M:%SZ}"
        f" to {last:%Y-%m-%dT%H:%M:%SZ}, were given up (catch_up: {due.schedule.catch_up})"
    )
    return replace(_announcement(due, last), skip_reason=reason, skip_count=len(given_up))


def _moved(due: Due, following: datetime | None) -> Due | None:
    if following is None:
        return None
    return replace(
        due, nominal=following, at=_at(due, following), tzdata=tzdata_version(), error=None
    )
