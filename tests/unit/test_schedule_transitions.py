from datetime import UTC, datetime, timedelta

import pytest

from scheduler.schedule.transitions import (
    Change,
    next_change,
    offset_at,
    overlap_end,
    resolve_wall,
    wall_at,
)
from scheduler.schedule.zones import ZONES
from tests.unit.tzif import Shift, shifts

FIRST, LAST = 1970, 2037


def found(zone: str) -> list[Shift]:
    place, end = datetime(FIRST, 1, 1, tzinfo=UTC), datetime(LAST + 1, 1, 1, tzinfo=UTC)
    changes = []
    while (change := next_change(zone, place, end)) is not None:
        changes.append(Shift(change.at, change.before, change.after))
        place = change.at
    return changes


@pytest.mark.parametrize("part", range(4))
def test_bisection_finds_the_changes_of_the_compiled_files_and_no_others(part: int) -> None:
    # Aliases share their history: each one is looked at once.
    histories = {tuple(shifts(zone, FIRST, LAST)): zone for zone in sorted(ZONES)}
    checked = 0
    for listed, zone in list(histories.items())[part::4]:
        assert found(zone) == list(listed), zone
        checked += len(listed)
    assert checked > 1000


def test_changes_far_in_the_future_follow_the_zones_rule() -> None:
    change = next_change(
        "America/New_York",
        datetime(2150, 1, 1, tzinfo=UTC),
        datetime(2150, 12, 31, tzinfo=UTC),
    )
    assert change == Change(
        datetime(2150, 3, 8, 7, tzinfo=UTC), timedelta(hours=-5), timedelta(hours=-4)
    )
    assert change.wall_before == datetime(2150, 3, 8, 2)
    assert change.wall_after == datetime(2150, 3, 8, 3)


def test_a_change_at_the_limit_counts_and_one_at_the_start_does_not() -> None:
    at = datetime(2027, 3, 14, 7, tzinfo=UTC)
    day = timedelta(days=1)
    assert next_change("America/New_York", at, at + day) is None
    before = next_change("America/New_York", at - day, at)
    assert before is not None
    assert before.at == at


def test_an_ordinary_wall_time_is_one_instant() -> None:
    run = resolve_wall("Asia/Kathmandu", datetime(2026, 11, 24, 9, 30))
    assert run.instant == datetime(2026, 11, 24, 3, 45, tzinfo=UTC)
    assert run.gap is None
    assert not run.repeated


def test_a_wall_time_that_comes_twice_is_its_first_instant() -> None:
    run = resolve_wall("America/New_York", datetime(2027, 11, 7, 1, 30))
    assert run.instant == datetime(2027, 11, 7, 5, 30, tzinfo=UTC)
    assert run.repeated


@pytest.mark.parametrize(
    ("zone", "wall", "instant"),
    [
        ("America/New_York", datetime(2027, 3, 14, 2, 30), datetime(2027, 3, 14, 7, tzinfo=UTC)),
        (
            "Australia/Lord_Howe",
            datetime(2026, 10, 4, 2),
            datetime(2026, 10, 3, 15, 30, tzinfo=UTC),
        ),
        ("Antarctica/Troll", datetime(2027, 3, 28, 2, 59), datetime(2027, 3, 28, 1, tzinfo=UTC)),
        ("Pacific/Apia", datetime(2011, 12, 30, 12), datetime(2011, 12, 30, 10, tzinfo=UTC)),
    ],
)
def test_a_wall_time_in_a_gap_is_the_gaps_end(zone: str, wall: datetime, instant: datetime) -> None:
    run = resolve_wall(zone, wall)
    assert run.instant == instant
    assert run.gap is not None
    assert run.gap.wall_before <= wall < run.gap.wall_after == wall_at(zone, instant)


def test_only_the_second_pass_of_an_overlap_has_an_end_to_wait_for() -> None:
    first, second = datetime(2027, 11, 7, 5, 30, tzinfo=UTC), datetime(2027, 11, 7, 6, tzinfo=UTC)
    assert overlap_end("America/New_York", first) is None
    assert overlap_end("America/New_York", second) == datetime(2027, 11, 7, 2)
    assert offset_at("America/New_York", second) == timedelta(hours=-5)
