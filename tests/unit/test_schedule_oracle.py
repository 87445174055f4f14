"""The scheduler's cron runs against a slow oracle, around the clock changes of every zone.

Set SCHEDULE_ORACLE_EXAMPLES (examples a zone, 2 by default) for a long run.
"""

import os
from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from zoneinfo import available_timezones

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.errors import ScheduleError
from scheduler.schedule import next_runs
from tests.unit import schedule_oracle
from tests.unit.schedule_expressions import expressions, fixed_expressions
from tests.unit.schedule_oracle import MINUTE, SECOND, Clock, shown_on
from tests.unit.tzif import Shift, shifts

EXAMPLES = int(os.environ.get("SCHEDULE_ORACLE_EXAMPLES", "2"))
ZONES = sorted(available_timezones() - {"localtime", "Factory"})
WINDOW = timedelta(days=2)
# No clock since 1970 was put back by more than Vostok's 7 hours of 1994.
MARGIN = timedelta(hours=8)
MOST = 25
SPECIAL = [
    "Africa/Cairo",
    "Africa/Casablanca",
    "Africa/Monrovia",
    "America/Havana",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Antarctica/Troll",
    "Antarctica/Vostok",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Dublin",
    "Europe/Lisbon",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kwajalein",
]
LEAP_DAY = Shift(datetime(2028, 2, 29, tzinfo=UTC), timedelta(0), timedelta(0))
LONGEST_PAUSE = timedelta(days=2922)
RARE = ["0 0 29 2 *", "0 0 * 2 1#5", "0 0 31 2 6#5", "59 23 31 12 */6", "0 0 0 29 2 *"]
THOROUGH = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    database=None,
)


@cache
def changes(zone: str) -> list[Shift]:
    return shifts(zone, 1970, 2037) or [LEAP_DAY]


@lru_cache(maxsize=8)
def clock(zone: str, at: datetime) -> Clock:
    """Two days around an instant; by half minutes where Liberia kept 44 minutes and 30 seconds."""
    step = MINUTE / 2 if at.second else MINUTE
    middle = at.replace(second=0)
    return Clock.of(zone, middle - WINDOW - MARGIN, middle + WINDOW, step)


def second_hand(zone: str, change: Shift) -> Clock:
    """Every second from before the first pass of an overlap to an hour after its second."""
    reach = min(abs(change.after - change.before), MARGIN) + timedelta(minutes=20)
    return Clock.of(zone, change.at - reach, change.at + reach, SECOND)


def check(expression: str, zone: str, line: Clock, *afters: datetime) -> None:
    found = schedule_oracle.runs(expression, line)
    for after in afters:
        wanted = found[bisect_right(found, after) :][:MOST]
        check_runs(expression, zone, after, wanted, line.shown[-1][0])


def check_runs(
    expression: str, zone: str, after: datetime, wanted: list[datetime], end: datetime
) -> None:
    try:
        got = next_runs(expression, zone, after, len(wanted) + 1)
    except ScheduleError as refused:
        # Only a day that none of its months has.
        assert "never comes" in refused.message
        assert wanted == []
        return
    told = f"{expression} in {zone} after {after.isoformat()}"
    assert got[: len(wanted)] == wanted, told
    if len(wanted) < MOST:
        assert all(run > end for run in got[len(wanted) :]), told
    assert all(first < second for first, second in pairwise([after, *got])), told


def moments(change: Shift) -> Iterable[datetime]:
    """Starts that are easily got wrong: the change, its neighbors, and both passes' middles."""
    moment, tick = timedelta(microseconds=1), SECOND
    half = abs(change.after - change.before) / 2
    for apart in (-2 * half, -half, -tick, -moment, 0 * tick, moment, tick, half, 2 * half):
        yield change.at + apart


def starts(change: Shift) -> st.SearchStrategy[datetime]:
    seconds = int(WINDOW.total_seconds())
    anywhere = st.integers(-seconds * 10**6, seconds * 10**6)
    near = st.integers(-3 * 3_600 * 10**6, 3 * 3_600 * 10**6)
    drawn = st.one_of(anywhere, near).map(lambda apart: timedelta(microseconds=apart))
    return st.one_of(
        st.sampled_from(list(moments(change))), drawn.map(lambda apart: change.at + apart)
    )


def compare(data: st.DataObject, zone: str) -> None:
    change = data.draw(st.sampled_from(changes(zone)), label="change")
    line = clock(zone, change.at)
    for expression in data.draw(st.tuples(*(2 * [expressions(change)])), label="expressions"):
        check(expression, zone, line, *data.draw(st.tuples(*(2 * [starts(change)]))))


@pytest.mark.parametrize("zone", ZONES)
@settings(THOROUGH, max_examples=EXAMPLES)
@given(st.data())
def test_runs_are_those_of_a_minute_by_minute_search(zone: str, data: st.DataObject) -> None:
    compare(data, zone)


@pytest.mark.parametrize("zone", SPECIAL)
@settings(THOROUGH, max_examples=4 * EXAMPLES)
@given(st.data())
def test_runs_in_a_zone_with_odd_changes_are_those_of_the_search(
    zone: str, data: st.DataObject
) -> None:
    compare(data, zone)


@pytest.mark.parametrize("zone", SPECIAL)
@settings(THOROUGH, max_examples=EXAMPLES)
@given(st.data())
def test_runs_with_seconds_are_those_of_a_second_by_second_search(
    zone: str, data: st.DataObject
) -> None:
    change = data.draw(st.sampled_from(changes(zone)), label="change")
    line = second_hand(zone, change)
    expression = data.draw(expressions(change, seconds=True))
    within = [moment for moment in moments(change) if moment >= line.shown[0][0]]
    check(expression, zone, line, data.draw(st.sampled_from(within)))


@pytest.mark.parametrize("part", range(8))
def test_the_last_and_the_widest_change_of_every_zone(part: int) -> None:
    histories = {tuple(changes(zone)): zone for zone in ZONES}
    for zone in list(histories.values())[part::8]:
        found = changes(zone)
        widest = max(found, key=lambda change: abs(change.after - change.before))
        for change in {found[-1], widest}:
            line = clock(zone, change.at)
            for expression in fixed_expressions(change):
                check(expression, zone, line, change.at - timedelta(hours=5))
            check("17 * * * *", zone, line, change.at - timedelta(microseconds=1))


@settings(THOROUGH, max_examples=25 * EXAMPLES)
@given(st.data(), st.sampled_from(ZONES), st.integers(1, 8), st.integers(1, 8))
def test_the_next_runs_are_the_same_in_one_call_or_in_two(
    data: st.DataObject, zone: str, first: int, second: int
) -> None:
    change = data.draw(st.sampled_from(changes(zone)))
    expression = data.draw(expressions(change))
    after = data.draw(starts(change))
    try:
        together = next_runs(expression, zone, after, first + second)
    except ScheduleError:
        return
    start = next_runs(expression, zone, after, first)
    assert start == together[:first]
    if len(start) == first:
        assert start + next_runs(expression, zone, start[-1], second) == together


INSTANTS = st.datetimes(datetime(1900, 1, 2), datetime(9900, 12, 30), timezones=st.just(UTC))


@settings(THOROUGH, max_examples=15 * EXAMPLES)
@given(st.sampled_from(RARE), st.sampled_from(ZONES), INSTANTS)
def test_a_rare_day_is_found_or_given_up_in_any_year(
    expression: str, zone: str, after: datetime
) -> None:
    found = next_runs(expression, zone, after, 3)
    pauses = [second - first for first, second in pairwise([after, *found])]
    assert all(timedelta(0) < pause <= LONGEST_PAUSE for pause in pauses)


@settings(THOROUGH, max_examples=10 * EXAMPLES)
@given(st.sampled_from(RARE), INSTANTS)
def test_the_next_rare_day_is_the_one_that_a_calendar_shows(
    expression: str, after: datetime
) -> None:
    day, month, weekday = expression.split()[-3:]
    midnight = after.replace(hour=0, minute=0, second=0, microsecond=0)
    days = [midnight + timedelta(days=place) for place in range(1, LONGEST_PAUSE.days + 1)]
    wanted = [at for at in days if shown_on(day, month, weekday, at.date())]
    found = next_runs(f"0 0 {day} {month} {weekday}", "UTC", after, 1)
    assert found == [at for at in wanted[:1] if at - after <= LONGEST_PAUSE]
