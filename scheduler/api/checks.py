"""What status and health look at, one by one: each tells how it is, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from scheduler.dispatch.control import ControlState, ControlWord
from scheduler.execution.upkeep.pulse import UpkeepBeat
from scheduler.schedule.heartbeat import Beat
from scheduler.schedule.wording import counted

TICK_LATE_SECONDS = 180
UPKEEP_LATE_SECONDS = 300
LONG_WAIT_SECONDS = 300


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `ok`, `warning` or `failed`, and what to do."""

    name: str
    result: str
    detail: str

    def document(self) -> dict[str, str]:
        """Its JSON."""
        return {"name": self.name, "status": self.result, "detail": self.detail}


def worst(checks: Sequence[Check]) -> str:
    """The word for all of them: one that failed is `unhealthy`, a warning is `degraded`."""
    results = {check.result for check in checks}
    if "failed" in results:
        return "unhealthy"
    return "degraded" if "warning" in results else "healthy"


def tick_check(beat: Beat | None, started: datetime, now: datetime) -> Check:
    """Whether due runs are announced: without the tick none starts."""
    if beat is None:
        late = (now - started).total_seconds() >= TICK_LATE_SECONDS
        text = "the tick has not run yet: is the timer function enabled?"
        return Check("tick", "failed" if late else "warning", text)
    lag = (now - beat.at).total_seconds()
    if lag > TICK_LATE_SECONDS:
        text = f"the tick last ran {lag:.0f} s ago: look at the timer function's log"
        return Check("tick", "failed", text)
    return Check("tick", "ok", f"the tick last ran {max(lag, 0):.0f} s ago")


def upkeep_checks(beat: UpkeepBeat | None, started: datetime, now: datetime) -> list[Check]:
    """Whether what a crash leaves lying is found, and what was found that needs somebody."""
    if beat is None:
        late = (now - started).total_seconds() >= UPKEEP_LATE_SECONDS
        text = "upkeep has not run yet: is the timer function enabled?"
        return [Check("upkeep", "warning" if late else "ok", text)]
    return [_upkeep_check(beat, now), _starts_check(beat), _rows_check(beat)]


def _upkeep_check(beat: UpkeepBeat, now: datetime) -> Check:
    lag = (now - beat.at).total_seconds()
    if lag > UPKEEP_LATE_SECONDS:
        text = (
            f"upkeep last ran {lag:.0f} s ago: what a crash leaves lying stays so; look at the"
            " timer function's log"
        )
        return Check("upkeep", "warning", text)
    if beat.zones_left:
        text = (
            f"upkeep did not get through {counted(beat.zones_left, 'zone')} in its minute: it goes"
            " on there with the next"
        )
        return Check("upkeep", "warning", text)
    runs = counted(beat.unfinished, "unfinished run")
    return Check("upkeep", "ok", f"upkeep last ran {max(lag, 0):.0f} s ago and saw {runs}")


def _starts_check(beat: UpkeepBeat) -> Check:
    if beat.overdue == 0:
        return Check("starts", "ok", "no start has waited for over five minutes")
    text = (
        f"{counted(beat.overdue, 'start')} waited for over five minutes, most of them in"
        f" {beat.overdue_zone}: is the trigger of its queue enabled, and are there instances"
        " enough?"
    )
    return Check("starts", "warning", text)


def _rows_check(beat: UpkeepBeat) -> Check:
    if beat.put_aside:
        text = (
            f"{counted(beat.put_aside, 'row')} that could not be worked with"
            f" {_were(beat.put_aside)} put aside in the Zones table under aside: with the reason;"
            " once its cause is mended, set its column again to true"
        )
        return Check("rows", "warning", text)
    if beat.of_later_version:
        text = (
            f"{counted(beat.of_later_version, 'run')} of a later version of the app"
            f" {_were(beat.of_later_version)} left alone: deploy that version again"
        )
        return Check("rows", "warning", text)
    return Check("rows", "ok", "every row can be worked with")


def control_check(word: ControlWord) -> Check:
    """Whether runs may start."""
    if word.state is ControlState.RUNNING:
        return Check("control", "ok", "runs start")
    note = f": {word.note}" if word.note else ""
    since = f" since {word.changed_at:%Y-%m-%dT%H:%M:%SZ}" if word.changed_at else ""
    return Check("control", "warning", f"the scheduler is {word.state}{since}{note}")


def poison_check(count: int) -> Check:
    """Whether messages are kept that could not be handled."""
    if count == 0:
        return Check("poison", "ok", "no message was put aside")
    text = (
        f"{counted(count, 'message')} {_were(count)} put aside in queues named …-poison: look at"
        " the text, then delete it"
    )
    return Check("poison", "warning", text)


def slots_check(longest_wait_seconds: float, timezone: str | None, limit: int) -> Check:
    """Whether parked runs get their turn; `timezone` is where one has waited longest."""
    if timezone is None or longest_wait_seconds <= LONG_WAIT_SECONDS:
        return Check("slots", "ok", "no run has been parked for over five minutes")
    text = (
        f"a run has been parked in {timezone} for {longest_wait_seconds:.0f} s: its {limit} places"
        " are taken; cancel what need not run, or raise SCHEDULER_MAX_CONCURRENT_PER_TIMEZONE"
    )
    return Check("slots", "warning", text)


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
