"""When the status is degraded or unhealthy, and the reason that it states."""

from datetime import UTC, datetime, timedelta

import pytest

from scheduler.api.checks import (
    Check,
    control_check,
    poison_check,
    slots_check,
    tick_check,
    upkeep_checks,
    worst,
)
from scheduler.dispatch.control import ControlState, ControlWord
from scheduler.execution.upkeep.pulse import UpkeepBeat
from scheduler.schedule.heartbeat import Beat

NOW = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def upkeep(**seen: int | str) -> list[Check]:
    """The checks of an upkeep a minute ago that saw this."""
    return upkeep_checks(UpkeepBeat(at=ago(60), **seen), ago(9_999), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("started", "last", "result"),
    [(10, None, "warning"), (181, None, "failed"), (999, 179, "ok"), (999, 181, "failed")],
)
def test_without_a_tick_for_three_minutes_the_scheduler_is_unhealthy(
    started: float, last: float | None, result: str
) -> None:
    beat = Beat(ago(last), 0, 1.0) if last is not None else None
    check = tick_check(beat, ago(started), NOW)
    assert check.result == result
    assert worst([check]) == {"ok": "healthy", "warning": "degraded", "failed": "unhealthy"}[result]


@pytest.mark.parametrize(("started", "result"), [(10, "ok"), (301, "warning")])
def test_an_upkeep_that_never_ran_is_told_after_five_minutes(started: float, result: str) -> None:
    (check,) = upkeep_checks(None, ago(started), NOW)
    assert (check.name, check.result) == ("upkeep", result)


def test_an_upkeep_that_stopped_is_told_with_what_follows_from_it() -> None:
    late = upkeep_checks(UpkeepBeat(at=ago(301)), ago(9_999), NOW)
    assert late[0].result == "warning"
    assert "what a crash leaves lying stays so" in late[0].detail


def test_with_nothing_to_tell_all_is_well() -> None:
    assert [check.result for check in upkeep(unfinished=7)] == ["ok", "ok", "ok"]
    assert upkeep(unfinished=7)[0].detail == "upkeep last ran 60 s ago and saw 7 unfinished runs"


@pytest.mark.parametrize(
    ("seen", "name", "words"),
    [
        ({"zones_left": 2}, "upkeep", "did not get through 2 zones"),
        ({"overdue": 3, "overdue_zone": "Asia/Tokyo"}, "starts", "most of them in Asia/Tokyo"),
        ({"put_aside": 1}, "rows", "1 row that could not be worked with was put aside"),
        ({"of_later_version": 2}, "rows", "2 runs of a later version of the app were left alone"),
    ],
)
def test_what_upkeep_saw_that_needs_somebody_is_told(
    seen: dict[str, int | str], name: str, words: str
) -> None:
    (check,) = (one for one in upkeep(**seen) if one.result != "ok")
    assert (check.name, check.result) == (name, "warning")
    assert words in check.detail
    assert worst(upkeep(**seen)) == "degraded"


@pytest.mark.parametrize("state", [ControlState.PAUSED, ControlState.STOPPED])
def test_a_scheduler_that_does_not_run_is_degraded_and_says_since_when_and_why(
    state: ControlState,
) -> None:
    assert control_check(ControlWord()).result == "ok"
    check = control_check(ControlWord(state=state, note="maintenance", changed_at=ago(0)))
    assert check.result == "warning"
    assert check.detail == f"the scheduler is {state} since 2026-11-23T02:00:00Z: maintenance"


def test_messages_that_are_kept_are_counted() -> None:
    assert poison_check(0).result == "ok"
    assert poison_check(1).detail.startswith("1 message was put aside")
    assert poison_check(2).detail.startswith("2 messages were put aside")


def test_a_run_that_is_parked_for_long_is_told_with_its_zone() -> None:
    assert slots_check(0, None, 50).result == "ok"
    assert slots_check(300, "UTC", 50).result == "ok"
    check = slots_check(301, "UTC", 50)
    assert check.result == "warning"
    assert check.detail.startswith("a run has been parked in UTC for 301 s: its 50 places")


def test_one_failure_outweighs_warnings() -> None:
    checks = [Check("a", "ok", ""), Check("b", "warning", ""), Check("c", "failed", "")]
    assert worst(checks) == "unhealthy"
    assert worst(checks[:2]) == "degraded"
    assert worst(checks[:1]) == "healthy"
