"""`schedules/preview`: what a schedule means, and what clock changes do to its runs."""

from typing import Any

import pytest

from tests.app.exchange import PREVIEW, check_fault, check_problem, check_success
from tests.app.live_app import LiveApp

NEW_YORK = "America/New_York"

type Run = tuple[str, str, str | None]
"""Local time, abbreviation, and the reason when a clock change has to do with it."""


def preview(
    live: LiveApp, expression: str, timezone: str, after: str, count: int
) -> dict[str, Any]:
    """The reply about a cron expression."""
    body = {
        "schedule": {"type": "cron", "expression": expression},
        "timezone": timezone,
        "after": after,
        "count": count,
    }
    return check_success(live.call("POST", PREVIEW, body))


def runs(reply: dict[str, Any]) -> list[Run]:
    """What its runs show; those moved by a clock change say so."""
    for run in reply["runs"]:
        assert run["adjusted"] == ("does not exist" in run.get("reason", ""))
        assert run["local"].endswith(run["offset"])
    return [(run["local"], run["abbreviation"], run.get("reason")) for run in reply["runs"]]


CHANGES: dict[str, tuple[str, str, str, list[Run]]] = {
    "New York, gap": (
        "30 2 * * *",
        NEW_YORK,
        "2027-03-13T12:00:00",
        [
            (
                "2027-03-14T03:00:00-04:00",
                "EDT",
                "02:30 does not exist on 2027-03-14 in America/New_York; runs at 03:00 EDT",
            ),
            ("2027-03-15T02:30:00-04:00", "EDT", None),
        ],
    ),
    "New York, overlap": (
        "30 1 * * *",
        NEW_YORK,
        "2027-11-06T12:00:00",
        [
            (
                "2027-11-07T01:30:00-04:00",
                "EDT",
                "01:30 comes twice on 2027-11-07 in America/New_York; runs the first time, EDT",
            ),
            ("2027-11-08T01:30:00-05:00", "EST", None),
        ],
    ),
    "New York, overlap, following the clock": (
        "*/30 * * * *",
        NEW_YORK,
        "2027-11-07T05:00:00Z",
        [
            ("2027-11-07T01:30:00-04:00", "EDT", None),
            ("2027-11-07T01:00:00-05:00", "EST", None),
            ("2027-11-07T01:30:00-05:00", "EST", None),
        ],
    ),
    "Lord Howe, half an hour": (
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2027-10-02T12:00:00",
        [
            (
                "2027-10-03T02:30:00+11:00",
                "+11",
                "02:15 does not exist on 2027-10-03 in Australia/Lord_Howe; runs at 02:30 +11",
            ),
            ("2027-10-04T02:15:00+11:00", "+11", None),
        ],
    ),
    "Troll, two hours": (
        "30 1 * * *",
        "Antarctica/Troll",
        "2027-03-27T12:00:00",
        [
            (
                "2027-03-28T03:00:00+02:00",
                "+02",
                "01:30 does not exist on 2027-03-28 in Antarctica/Troll; runs at 03:00 +02",
            ),
            ("2027-03-29T01:30:00+02:00", "+02", None),
        ],
    ),
    "Apia, a day": (
        "0 12 30 * *",
        "Pacific/Apia",
        "2011-12-01T00:00:00",
        [
            (
                "2011-12-31T00:00:00+14:00",
                "+14",
                "12:00 does not exist on 2011-12-30 in Pacific/Apia; "
                "runs at 00:00 +14 on 2011-12-31",
            ),
            ("2012-01-30T12:00:00+14:00", "+14", None),
        ],
    ),
    "Dublin, where winter is the exception": (
        "30 1 * * *",
        "Europe/Dublin",
        "2027-10-30T12:00:00",
        [
            (
                "2027-10-31T01:30:00+01:00",
                "IST",
                "01:30 comes twice on 2027-10-31 in Europe/Dublin; runs the first time, IST",
            ),
            ("2027-11-01T01:30:00+00:00", "GMT", None),
        ],
    ),
    "Beirut, at midnight": (
        "0 0 * * *",
        "Asia/Beirut",
        "2027-03-27T12:00:00",
        [
            (
                "2027-03-28T01:00:00+03:00",
                "EEST",
                "00:00 does not exist on 2027-03-28 in Asia/Beirut; runs at 01:00 EEST",
            ),
            ("2027-03-29T00:00:00+03:00", "EEST", None),
        ],
    ),
    "Havana, back to midnight": (
        "15 0 * * *",
        "America/Havana",
        "2027-11-06T12:00:00",
        [
            (
                "2027-11-07T00:15:00-04:00",
                "CDT",
                "00:15 comes twice on 2027-11-07 in America/Havana; runs the first time, CDT",
            ),
            ("2027-11-08T00:15:00-05:00", "CST", None),
        ],
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_run_tells_what_a_clock_change_does_to_it(live: LiveApp, name: str) -> None:
    expression, timezone, after, expected = CHANGES[name]
    reply = preview(live, expression, timezone, after, len(expected))
    assert runs(reply) == expected
    reasons = [reason for *_, reason in expected if reason is not None]
    told = [one["message"] for one in reply["warnings"] if one["code"] == "clock_change"]
    assert set(reasons) <= set(told)


def test_the_reply_tells_the_schedule_with_its_defaults_in_words_and_runs(live: LiveApp) -> None:
    body = {"schedule": {"type": "cron", "expression": "0 6 * * MON-FRI"}, "timezone": "asia/tokyo"}
    reply = check_success(live.call("POST", PREVIEW, body))
    assert set(reply) == {
        *("success", "message", "timezone", "schedule", "description"),
        *("runs", "warnings", "tzdata"),
    }
    assert reply["message"] == f"the next run is at {reply['runs'][0]['local']}"
    assert reply["timezone"] == "Asia/Tokyo"
    assert reply["description"] == "At 06:00, from Monday to Friday"
    assert reply["schedule"]["catch_up"] == "latest"
    assert (len(reply["runs"]), reply["warnings"]) == (10, [])
    assert reply["runs"] == live.call("POST", PREVIEW, body).json()["runs"]


def test_a_time_without_an_offset_is_read_on_the_zones_clock(live: LiveApp) -> None:
    local = preview(live, "0 * * * *", "Asia/Kathmandu", "2027-01-01T06:00:00.5", 1)
    assert runs(local) == [("2027-01-01T07:00:00+05:45", "+0545", None)]
    instant = preview(live, "0 * * * *", "Asia/Kathmandu", "2027-01-01T00:15:00Z", 1)
    assert runs(instant) == [("2027-01-01T07:00:00+05:45", "+0545", None)]
    just_before = preview(live, "0 * * * *", "UTC", "2027-01-01T05:59:59.999", 1)
    assert runs(just_before) == [("2027-01-01T06:00:00+00:00", "UTC", None)]


def test_an_interval_counts_from_the_instant_that_runs_come_after(live: LiveApp) -> None:
    body = {
        "schedule": {"type": "interval", "expression": "1d"},
        "timezone": NEW_YORK,
        "after": "2027-03-13T09:00:00",
        "count": 2,
    }
    reply = check_success(live.call("POST", PREVIEW, body))
    assert reply["schedule"]["anchor"] == "2027-03-13T14:00:00+00:00"
    assert [run["local"][11:16] for run in reply["runs"]] == ["10:00", "10:00"]
    (warning,) = reply["warnings"]
    assert (warning["pointer"], warning["code"]) == ("/schedule/expression", "interval_drifts")
    assert "0 9 * * *" in warning["message"]


def test_a_series_that_ends_has_fewer_runs_and_says_so(live: LiveApp) -> None:
    body: dict[str, Any] = {
        "schedule": {"type": "cron", "expression": "0 6 * * *", "end_at": "2027-01-03T00:00:00Z"},
        "after": "2027-01-01T00:00:00Z",
    }
    reply = check_success(live.call("POST", PREVIEW, body))
    assert len(reply["runs"]) == 2
    assert reply["warnings"] == [
        {
            "pointer": "/schedule/end_at",
            "code": "series_ends",
            "message": "the series ends: 2 of the 10 runs asked for are left",
        }
    ]


def test_a_single_run_that_has_passed_is_no_error(live: LiveApp) -> None:
    schedule = {"type": "once", "expression": "2020-01-01T06:00:00"}
    reply = check_success(live.call("POST", PREVIEW, {"schedule": schedule}))
    assert (reply["runs"], reply["message"]) == ([], "no run is left")
    assert [one["code"] for one in reply["warnings"]] == ["series_ends"]
    coming = {"schedule": {"type": "once", "expression": "2090-01-01T06:00:00"}}
    assert check_success(live.call("POST", PREVIEW, coming))["warnings"] == []


def test_a_hundred_runs_of_a_leap_day_are_told(live: LiveApp) -> None:
    reply = preview(live, "0 0 29 2 *", "UTC", "2027-01-01T00:00:00Z", 100)
    assert len(reply["runs"]) == 100


@pytest.mark.parametrize(
    ("fields", "pointer", "fault"),
    [
        ({"cont": 3}, "/cont", "unknown_field"),
        ({"count": 0}, "/count", "out_of_range"),
        ({"count": 101}, "/count", "out_of_range"),
        ({"count": "3"}, "/count", "wrong_type"),
        ({"count": 2.5}, "/count", "wrong_type"),
        ({"timezone": "America/NewYork"}, "/timezone", "unknown_timezone"),
        ({"timezone": ""}, "/timezone", "too_short"),
        ({"timezone": 5}, "/timezone", "wrong_type"),
        ({"after": "tomorrow"}, "/after", "invalid_time"),
        ({"after": "2027-02-30T00:00:00"}, "/after", "invalid_time"),
        ({"after": "0001-01-01T00:00:00"}, "/after", "invalid_time"),
        ({"after": 5}, "/after", "wrong_type"),
        ({"schedule": None}, "/schedule", "missing"),
        ({"schedule": "0 6 * * *"}, "/schedule", "wrong_type"),
        ({"schedule": {"type": "cron"}}, "/schedule/expression", "missing"),
        (
            {"schedule": {"type": "cron", "expression": "0 6 ? * *"}},
            "/schedule/expression",
            "invalid_cron",
        ),
        (
            {"schedule": {"type": "cron", "expression": "x" * 300}},
            "/schedule/expression",
            "too_long",
        ),
        (
            {"schedule": {"type": "cronn", "expression": "0 6 * * *"}},
            "/schedule/type",
            "invalid_choice",
        ),
        (
            {"schedule": {"type": "interval", "expression": "0s"}},
            "/schedule/expression",
            "invalid_interval",
        ),
    ],
)
def test_each_fault_is_told_at_its_field(
    live: LiveApp, fields: dict[str, Any], pointer: str, fault: str
) -> None:
    body = {"schedule": {"type": "cron", "expression": "0 6 * * *"}, **fields}
    check_fault(live.call("POST", PREVIEW, body), pointer, fault)


def test_all_faults_are_told_at_once_with_near_names(live: LiveApp) -> None:
    body = {
        "schedule": {"type": "cron", "expresion": 1, "expression": "61 * * * *"},
        "timezone": "Eastern Standard Time",
        "after": "soon",
        "count": 101,
        "cont": 1,
    }
    errors = check_problem(live.call("POST", PREVIEW, body), 400, "invalid_request")["errors"]
    messages = {error["pointer"]: error["message"] for error in errors}
    assert set(messages) == {
        *("/schedule/expresion", "/schedule/expression", "/timezone"),
        *("/after", "/count", "/cont"),
    }
    assert "did you mean 'expression'?" in messages["/schedule/expresion"]
    assert "did you mean 'count'?" in messages["/cont"]
    assert "write 'America/New_York'" in messages["/timezone"]


def test_yaml_is_read_as_everywhere(live: LiveApp) -> None:
    body = "schedule: {type: cron, expression: 0 6 * * *}\nafter: 2027-01-01T00:00:00Z\ncount: 1\n"
    reply = live.call("POST", PREVIEW, body, content_type="application/yaml")
    assert runs(check_success(reply)) == [("2027-01-01T06:00:00+00:00", "UTC", None)]


def test_viewers_may_look_and_nothing_is_written(live: LiveApp) -> None:
    viewer = live.make_key("viewer")
    body = {"schedule": {"type": "cron", "expression": "0 6 * * *"}}
    live.call("POST", PREVIEW, body, key=viewer)
    with live.writes() as writes:
        check_success(live.call("POST", PREVIEW, body, key=viewer))
    assert writes == []
    check_problem(live.call("POST", PREVIEW, body, key=None), 401, "not_authenticated")
