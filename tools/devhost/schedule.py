"""Timer schedules as the host reads them: NCRONTAB in UTC, or a constant time span."""

from datetime import UTC, datetime, timedelta

from croniter import CroniterError, croniter

from tools.devhost.errors import AppFailed
from tools.devhost.hostfile import seconds


class Schedule:
    """`{second} {minute} {hour} {day} {month} {weekday}` (both days must match) or `hh:mm:ss`."""

    def __init__(self, text: str) -> None:
        """Parses the text; five fields mean second 0. Raises AppFailed when it cannot be read."""
        self._span: timedelta | None = None
        self._expression = text if len(text.split()) == 6 else f"0 {text}"
        try:
            if ":" in text:
                self._span = timedelta(seconds=seconds(text))
            self.next(datetime.now(UTC))
        except (ValueError, CroniterError) as error:
            raise AppFailed(f"the timer schedule {text!r} cannot be read: {error}") from error

    def next(self, after: datetime) -> datetime:
        """The first occurrence strictly after an aware instant, in UTC."""
        if self._span is not None:
            return after + self._span
        occurrences = croniter(
            self._expression, after.astimezone(UTC), second_at_beginning=True, day_or=False
        )
        found: datetime = occurrences.get_next(datetime)
        return found
