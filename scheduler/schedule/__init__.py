"""When jobs run: cron expressions, intervals and single times on the clock of any zone."""

from datetime import datetime
from itertools import islice

from scheduler.schedule.cron import Cron
from scheduler.schedule.occurrences import occurrences
from scheduler.schedule.zones import resolve_timezone

__all__ = ["next_runs"]


def next_runs(expression: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """The next runs of a cron expression on a zone's clock: aware UTC instants strictly after.

    There are fewer than `count` when the series ends: no run within 8 years of the previous one.

        >>> next_runs("30 2 * * *", "America/New_York", datetime(2027, 3, 14, 5, tzinfo=UTC), 1)
        [datetime.datetime(2027, 3, 14, 7, 0, tzinfo=datetime.timezone.utc)]

    Raises:
        ScheduleError: `invalid_cron`, `unknown_timezone`, or an `after` without an offset.
    """
    runs = occurrences(Cron.parse(expression), resolve_timezone(timezone), after)
    return [run.instant for run in islice(runs, max(0, count))]
