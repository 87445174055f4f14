"""From a job to its due row, and from a due row to the runs that it stands for. No I/O.

Everything here is ordered by nominal instants. Jitter moves only the start of a run, so that it can
neither reorder the runs of a job nor lose one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from scheduler.dispatch.ids import Trigger, scheduled_id
from scheduler.dispatch.run_index import Announcement
from scheduler.jobs.due import Due
from scheduler.jobs.model import CatchUp, Job, Overlap, Schedule
from scheduler.schedule.triggers import first_instant, instants, jittered, next_instant
from scheduler.schedule.zones import tzdata_version

LATE_SECONDS = 300
"""A run is missed when it is over this late; until then it simply runs."""
SURE = timedelta(seconds=60)
"""A row that is overdue by less is announced before one of its runs is missed, even by a retry."""
MAX_CATCH_UP = 100
MAX_RUNS_A_LOOK = 20_000
"""How many runs of one row are counted, and how many are looked at, in one tick."""
ERROR_DELAY = timedelta(hours=1)
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a due row comes to: the runs to announce now, and the row that takes its place."""

    announcements: Sequence[Announcement]
    following: Due | None


@dataclass(frozen=True, slots=True)
class _Gap:
    """Runs that are given up: how many (`more`: and more), the first and the last of them."""

    count: int
    first: datetime
    last: datetime
    more: bool


def lateness_allowed(schedule: Schedule) -> timedelta:
    """By how much a run may be late and simply run; beyond, it is one that was missed."""
    return timedelta(seconds=LATE_SECONDS + schedule.jitter_seconds)


def plan_job(job: Job, revision: str, now: datetime) -> Due | None:
    """The due row of a job as of now; None when it is paused, or never runs by itself."""
    if not job.enabled or job.schedule is None:
        return None
    nominal = first_instant(job.schedule, job.timezone, now)
    if nominal is None:
        return None
    return Due(
        job_id=job.id,
        timezone=job.timezone,
        schedule=job.schedule,
        revision=revision,
        nominal=nominal,
        at=nominal,
        tzdata=tzdata_version(),
        since=now,
    )


def derived_again(due: Due, now: datetime) -> Due | None:
    """A due row by the zone data of this process; None when no run is left by it.

    It stays as it is unless its data is older: while a new version is being deployed, instances
    with old data must not undo what those with new data did. One whose run could not be computed
    stays too: the tick tries it again.
    """
    version = tzdata_version()
    if due.tzdata >= version or due.error is not None:
        return due
    nominal = next_instant(due.schedule, due.timezone, due.since or now)
    if nominal is None:
        return None
    return replace(due, nominal=nominal, at=nominal, tzdata=version)


def plan_runs(due: Due, now: datetime, horizon: datetime) -> Plan:
    """The runs of a due row up to the horizon; of those that were missed, what its policy says.

    Raises:
        ScheduleError: the schedule cannot be computed.
    """
    if due.decided is None:
        return _plan(due, now, horizon)
    begun = _plan(due, due.decided, horizon - (now - due.decided))
    if begun.following is None or to_decide(begun.following, now) is not None:
        return begun
    rest = _plan(begun.following, now, horizon)
    return Plan([*begun.announcements, *rest.announcements], rest.following)


def _plan(due: Due, now: datetime, horizon: datetime) -> Plan:
    fresh = derived_again(due, now)
    if fresh is None or fresh.nominal > horizon:
        return Plan((), fresh)
    due, schedule = fresh, fresh.schedule
    late = lateness_allowed(schedule)
    window = max(timedelta(seconds=schedule.catch_up_window_seconds), late)
    beyond = list(islice(_runs(due, due.nominal, now - window), MAX_RUNS_A_LOOK + 1))
    first = due.nominal if not beyond else None
    recent = list(islice(_recent(due, first, now - window, horizon), MAX_RUNS_A_LOOK))
    missed = [nominal for nominal in recent if nominal < now - late]
    made_up = _made_up(due, missed)
    given_up = [*beyond, *missed[: len(missed) - len(made_up)]]
    announcements = _in_turn(due, [*made_up, *recent[len(missed) :]], now)
    if given_up:
        more = len(beyond) > MAX_RUNS_A_LOOK
        gap = _Gap(len(given_up), given_up[0], given_up[-1], more)
        announcements.append(_skip_record(due, gap))
    last = recent[-1] if recent else max(given_up[-1], now - window)
    return Plan(announcements, _moved(due, last))


def to_decide(due: Due, now: datetime) -> Due | None:
    """The due row with the decision of now as to which runs were missed; None when none may be."""
    if due.decided is not None or due.error is not None or due.nominal > now - SURE:
        return None
    return replace(due, decided=now)


def plan_error(due: Due, message: str, now: datetime) -> Due:
    """The due row of a schedule that cannot be computed: tried again in an hour."""
    return replace(due, at=now + ERROR_DELAY, error=message)


def _runs(due: Due, first: datetime, until: datetime) -> Iterator[datetime]:
    """The runs with first ≤ run < until; `first` is one of them."""
    if first >= until:
        return
    yield first
    yield from instants(due.schedule, due.timezone, first, until - _MOMENT)


def _recent(
    due: Due, first: datetime | None, start: datetime, horizon: datetime
) -> Iterator[datetime]:
    """The runs from `first`, or else from the start of the catch-up window, to the horizon."""
    if first is not None:
        yield first
    after = first or start - _MOMENT
    yield from instants(due.schedule, due.timezone, after, horizon)


def _made_up(due: Due, missed: Sequence[datetime]) -> Sequence[datetime]:
    match due.schedule.catch_up:
        case CatchUp.NONE:
            return []
        case CatchUp.LATEST:
            return missed[-1:]
        case CatchUp.ALL:
            return missed[-MAX_CATCH_UP:]


def _announcement(due: Due, nominal: datetime) -> Announcement:
    execution_id = scheduled_id(due.job_id, nominal)
    return Announcement(
        execution_id=execution_id,
        timezone=due.timezone,
        trigger=Trigger.SCHEDULE,
        scheduled=nominal,
        due=jittered(nominal, execution_id, due.schedule.jitter_seconds),
        revision=due.revision,
    )


def _in_turn(due: Due, nominals: Sequence[datetime], now: datetime) -> list[Announcement]:
    """The runs of some instants; those that are late start a second apart, to come in their order.

    Where they may overlap they start together; where they queue, those on time come behind them.
    """
    overlap = due.schedule.overlap
    step = timedelta(seconds=0 if overlap is Overlap.ALLOW else 1)
    runs: list[Announcement] = []
    last = now
    for nominal in nominals:
        run = _announcement(due, nominal)
        if run.due < now or (overlap is Overlap.QUEUE and run.due <= last):
            last += step
            run = replace(run, due=last)
        runs.append(run)
    return runs


def _skip_record(due: Due, gap: _Gap) -> Announcement:
    first, last = f"{gap.first:%Y-%m-%dT%H:%M:%SZ}", f"{gap.last:%Y-%m-%dT%H:%M:%SZ}"
    if gap.count == 1:
        what = f"1 missed run, due at {first}, was"
    else:
        count = f"over {gap.count - 1}" if gap.more else str(gap.count)
        what = f"{count} missed runs, due from {first} to {last}, were"
    reason = f"{what} given up (catch_up: {due.schedule.catch_up})"
    record = _announcement(due, gap.last)
    return replace(record, due=gap.last, skip_reason=reason, skip_count=gap.count)


def _moved(due: Due, last: datetime) -> Due | None:
    """The row that takes the place of one whose runs are announced up to the last."""
    following = next_instant(due.schedule, due.timezone, last)
    if following is None:
        return None
    return replace(
        due,
        nominal=following,
        at=following,
        tzdata=tzdata_version(),
        since=last,
        decided=None,
        error=None,
    )
