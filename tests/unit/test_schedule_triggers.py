from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import ScheduleError
from scheduler.jobs.model import Schedule, ScheduleType
from scheduler.schedule.triggers import (
    describe_run,
    first_instant,
    instants,
    jittered,
    next_instant,
    preview,
    resolve_once,
    validate_schedule,
)

NOW = datetime(2026, 11, 24, 8, 15, 30, 250_000, tzinfo=UTC)
NEW_YORK = "America/New_York"


def cron(expression: str, **more: Any) -> Schedule:  # noqa: ANN401
    return Schedule(type=ScheduleType.CRON, expression=expression, **more)


def interval(expression: str, **more: Any) -> Schedule:  # noqa: ANN401
    return Schedule(type=ScheduleType.INTERVAL, expression=expression, **more)


def once(expression: str, **more: Any) -> Schedule:  # noqa: ANN401
    return Schedule(type=ScheduleType.ONCE, expression=expression, **more)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


class TestCron:
    def test_the_first_run_is_the_next_one(self) -> None:
        run = first_instant(cron("0 4 * * *"), NEW_YORK, NOW)
        assert run == at("2026-11-24T09:00Z")
        assert run.tzinfo is UTC

    def test_runs_lie_within_start_at_and_end_at(self) -> None:
        bounded = cron(
            "0 * * * *", start_at=at("2026-12-01T10:00Z"), end_at=at("2026-12-01T12:00Z")
        )
        assert list(instants(bounded, "UTC", NOW, at("2027-01-01T00:00Z"))) == [
            at("2026-12-01T10:00Z"),
            at("2026-12-01T11:00Z"),
        ]
        assert next_instant(bounded, "UTC", at("2026-12-01T11:00Z")) is None

    def test_a_start_at_within_a_second_is_not_run_early(self) -> None:
        bounded = cron("0 0 * * *", start_at=at("2026-12-01T00:00:00.5Z"))
        assert next_instant(bounded, "UTC", NOW) == at("2026-12-02T00:00Z")

    def test_instants_end_with_the_last_moment_itself(self) -> None:
        last = at("2026-11-24T10:00Z")
        assert list(instants(cron("0 * * * *"), "UTC", NOW, last)) == [
            at("2026-11-24T09:00Z"),
            last,
        ]


class TestInterval:
    def test_the_first_run_is_one_interval_after_the_job_was_made(self) -> None:
        assert first_instant(interval("90m"), "UTC", NOW) == at("2026-11-24T09:45:30Z")

    def test_runs_are_counted_from_the_anchor(self) -> None:
        kept = interval("90m", anchor=NOW)
        assert next_instant(kept, "UTC", at("2026-11-24T12:00Z")) == at("2026-11-24T12:45:30Z")
        assert next_instant(kept, "UTC", at("2026-11-24T12:45:30Z")) == at("2026-11-24T14:15:30Z")

    def test_an_anchor_ahead_is_the_first_run(self) -> None:
        kept = interval("1h", anchor=at("2026-12-24T00:00Z"))
        assert next_instant(kept, "UTC", NOW) == at("2026-12-24T00:00Z")

    def test_a_clock_change_does_not_move_it(self) -> None:
        kept = interval("1d", anchor=at("2027-03-13T07:30Z"))
        assert next_instant(kept, NEW_YORK, at("2027-03-13T07:30Z")) == at("2027-03-14T07:30Z")

    def test_without_its_anchor_it_cannot_be_computed(self) -> None:
        with pytest.raises(ValueError, match="anchor"):
            next_instant(interval("1h"), "UTC", NOW)

    @given(
        anchor=st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
        after=st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
        seconds=st.integers(1, 3653 * 86_400),
    )
    def test_the_next_run_is_the_least_multiple_strictly_after(
        self, anchor: datetime, after: datetime, seconds: int
    ) -> None:
        run = next_instant(interval(f"{seconds}s", anchor=anchor), "UTC", after)
        assert run is not None
        start = anchor.replace(microsecond=0)
        assert run > after
        assert run >= start
        assert (run - start) % timedelta(seconds=seconds) == timedelta(0)
        assert run - timedelta(seconds=seconds) <= max(after, start)

    @given(st.integers(1, 10**6), st.integers(2, 20))
    def test_runs_one_by_one_are_those_of_the_range(self, seconds: int, count: int) -> None:
        schedule = interval(f"{seconds}s", anchor=NOW)
        end = NOW.replace(microsecond=0) + count * timedelta(seconds=seconds)
        walked, place = [], NOW
        while (run := next_instant(schedule, "UTC", place)) is not None and run <= end:
            walked.append(run)
            place = run
        assert walked == list(instants(schedule, "UTC", NOW, end))
        assert len(walked) == count


class TestOnce:
    def test_it_runs_a_single_time(self) -> None:
        schedule = once("2026-12-24T18:00:00")
        run = first_instant(schedule, "Europe/Berlin", NOW)
        assert run == at("2026-12-24T17:00Z")
        assert next_instant(schedule, "Europe/Berlin", run) is None

    @pytest.mark.parametrize(
        ("text", "zone", "instant", "adjusted"),
        [
            ("2027-03-14T02:30", NEW_YORK, "2027-03-14T07:00Z", True),
            ("2027-11-07T01:30", NEW_YORK, "2027-11-07T05:30Z", False),
            ("2027-03-14T02:30Z", NEW_YORK, "2027-03-14T02:30Z", False),
            ("2027-03-14 02:30:15+05:30", NEW_YORK, "2027-03-13T21:00:15Z", False),
            ("2026-12-24t18:00:00.750z", "UTC", "2026-12-24T18:00:01Z", False),
            ("2011-12-30T08:00", "Pacific/Apia", "2011-12-30T10:00Z", True),
        ],
    )
    def test_its_time_is_resolved(self, text: str, zone: str, instant: str, adjusted: bool) -> None:
        assert resolve_once(text, zone) == (at(instant), adjusted)


class TestJitter:
    @given(st.text(max_size=80), st.integers(0, 3600))
    def test_it_is_the_same_each_time_and_within_its_limit(self, run: str, limit: int) -> None:
        due = jittered(NOW, run, limit)
        assert due == jittered(NOW, run, limit)
        assert timedelta(0) <= due - NOW <= timedelta(seconds=limit)
        assert due.microsecond == NOW.microsecond

    def test_it_spreads_runs_over_the_whole_limit(self) -> None:
        delays = {(jittered(NOW, f"job.{number}", 9) - NOW).seconds for number in range(500)}
        assert delays == set(range(10))


class TestPreview:
    def test_a_run_is_described_on_the_zones_clock(self) -> None:
        assert describe_run(at("2026-11-24T09:00Z"), "Asia/Kathmandu") == {
            "utc": "2026-11-24T09:00:00Z",
            "local": "2026-11-24T14:45:00+05:45",
            "offset": "+05:45",
            "abbreviation": "+0545",
            "adjusted": False,
        }

    def test_an_instant_in_another_zone_is_described_in_utc_too(self) -> None:
        instant = datetime(2026, 11, 24, 12, tzinfo=timezone(timedelta(hours=3)))
        assert describe_run(instant, "UTC")["utc"] == "2026-11-24T09:00:00Z"

    def test_a_time_that_does_not_exist_says_why_it_runs_later(self) -> None:
        first, second = preview(cron("30 2 * * *"), NEW_YORK, at("2027-03-14T05:00Z"), 2)
        assert first == {
            "utc": "2027-03-14T07:00:00Z",
            "local": "2027-03-14T03:00:00-04:00",
            "offset": "-04:00",
            "abbreviation": "EDT",
            "adjusted": True,
            "reason": "02:30 does not exist on 2027-03-14 in America/New_York; runs at 03:00 EDT",
        }
        assert second["adjusted"] is False
        assert "reason" not in second

    def test_a_skipped_day_names_the_day_of_the_run(self) -> None:
        (run,) = preview(cron("0 8 30 12 *"), "Pacific/Apia", at("2011-12-01T00:00Z"), 1)
        assert run.get("reason") == (
            "08:00 does not exist on 2011-12-30 in Pacific/Apia; runs at 00:00 +14 on 2011-12-31"
        )

    def test_a_time_that_comes_twice_says_which_one_runs(self) -> None:
        (run,) = preview(cron("30 1 * * *"), NEW_YORK, at("2027-11-07T04:00Z"), 1)
        assert run["adjusted"] is False
        assert run.get("reason") == (
            "01:30 comes twice on 2027-11-07 in America/New_York; runs the first time, EDT"
        )

    def test_both_passes_of_a_wildcard_job_are_plain_runs(self) -> None:
        runs = preview(cron("30 * * * *"), NEW_YORK, at("2027-11-07T05:00Z"), 2)
        assert [run["local"] for run in runs] == [
            "2027-11-07T01:30:00-04:00",
            "2027-11-07T01:30:00-05:00",
        ]
        assert not any("reason" in run for run in runs)

    def test_single_runs_and_intervals_have_previews_too(self) -> None:
        (single,) = preview(once("2027-03-14T02:30"), NEW_YORK, NOW, 5)
        assert single["adjusted"] is True
        steps = preview(interval("1h", anchor=NOW), NEW_YORK, NOW, 2)
        assert [run["utc"] for run in steps] == ["2026-11-24T09:15:30Z", "2026-11-24T10:15:30Z"]


class TestValidation:
    @pytest.mark.parametrize(
        "schedule",
        [
            cron("0 9 * * MON-FRI", start_at=NOW, end_at=NOW + timedelta(days=9)),
            interval("1h"),
            once("2026-12-24T18:00"),
        ],
    )
    def test_a_good_schedule_passes(self, schedule: Schedule) -> None:
        validate_schedule(schedule, NEW_YORK, NOW)

    @pytest.mark.parametrize(
        ("schedule", "zone", "field", "code"),
        [
            (cron("61 * * * *"), "UTC", "expression", "invalid_cron"),
            (cron("* * * * *"), "Mars/Base", "timezone", "unknown_timezone"),
            (interval("0s"), "UTC", "expression", "invalid_interval"),
            (once("soon"), "UTC", "expression", "invalid_once"),
            (interval("1h", anchor=datetime(2026, 1, 1)), "UTC", "anchor", "invalid_schedule"),
            (cron("* * * * *", start_at=NOW, end_at=NOW), "UTC", "end_at", "invalid_schedule"),
            (
                once("2026-12-24T18:00", end_at=NOW + timedelta(days=1)),
                "UTC",
                "expression",
                "invalid_once",
            ),
        ],
    )
    def test_a_bad_one_names_its_field(
        self, schedule: Schedule, zone: str, field: str, code: str
    ) -> None:
        with pytest.raises(ScheduleError) as caught:
            validate_schedule(schedule, zone)
        assert (caught.value.field, caught.value.fault) == (field, code)

    @pytest.mark.parametrize(
        ("schedule", "field", "said"),
        [
            (cron("0 0 * 2 FRI#5"), "expression", "no run within 8 years"),
            (cron("0 0 1 1 *", end_at=NOW + timedelta(days=9)), "end_at", "no run is left"),
            (once("2026-11-24T08:00"), "expression", "2026-11-24T08:00:00Z has passed"),
        ],
    )
    def test_at_creation_a_run_must_lie_ahead(
        self, schedule: Schedule, field: str, said: str
    ) -> None:
        validate_schedule(schedule, "UTC")
        with pytest.raises(ScheduleError, match=said) as caught:
            validate_schedule(schedule, "UTC", NOW)
        assert caught.value.field == field
