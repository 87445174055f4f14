"""`jobs/validate`: what storing a job would say, without storing it."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tests.app.exchange import (
    JOBS,
    NOTE,
    VALIDATE,
    check_problem,
    check_success,
    new_id,
    note_job,
)
from tests.app.live_app import LiveApp

SQL: dict[str, Any] = {"type": "sql", "connection_name": "local", "query": "SELECT 1"}


def validate(live: LiveApp, body: Any, **options: Any) -> dict[str, Any]:  # noqa: ANN401
    """The reply about a body; what was read is never written."""
    with live.writes() as writes:
        reply = check_success(live.call("POST", VALIDATE, body, **options))
    # A key's first use is noted with the key.
    assert [url for _, url in writes if f"{live.name}Keys" not in url] == []
    assert set(reply) == {
        *("success", "message", "valid", "validation_errors", "warnings"),
        *("next_runs", "description"),
    }
    assert reply["valid"] is (reply["validation_errors"] == [])
    for entry in (*reply["validation_errors"], *reply["warnings"]):
        assert set(entry) == {"pointer", "code", "message"}
    return reply


def marks(entries: list[dict[str, str]]) -> set[tuple[str, str]]:
    """The pointers and codes of errors or warnings."""
    return {(entry["pointer"], entry["code"]) for entry in entries}


def test_a_good_job_is_valid_with_its_next_runs_and_meaning(live: LiveApp) -> None:
    job = note_job(
        schedule={"type": "cron", "expression": "0 6 * * MON-FRI"}, timezone="Asia/Tokyo"
    )
    for body in (job, {"job": job}):
        reply = validate(live, body)
        assert (reply["valid"], reply["warnings"]) == (True, [])
        assert len(reply["next_runs"]) == 5
        assert {run["local"][11:] for run in reply["next_runs"]} == {"06:00:00+09:00"}
        assert reply["description"] == "At 06:00, from Monday to Friday"
        assert reply["message"] == "the job is valid; nothing was stored"


def test_a_job_without_a_schedule_runs_on_demand(live: LiveApp) -> None:
    reply = validate(live, note_job())
    assert (reply["valid"], reply["next_runs"]) == (True, [])
    assert reply["description"] == "On demand only: the job has no schedule"


def test_a_disabled_job_has_no_next_runs_but_a_meaning(live: LiveApp) -> None:
    schedule = {"type": "once", "expression": "2020-01-01T06:00:00"}
    reply = validate(live, note_job(schedule=schedule, enabled=False))
    assert (reply["valid"], reply["next_runs"]) == (True, [])
    assert reply["description"] == "Once, on 2020-01-01 at 06:00"
    assert marks(reply["warnings"]) == {("/schedule/expression", "series_ends")}


@pytest.mark.parametrize("wrapped", [False, True])
def test_every_fault_is_told_with_the_pointer_into_the_body(live: LiveApp, wrapped: bool) -> None:
    job = note_job(
        nam="x",
        timezone="Europe/Lodon",
        schedule={"type": "cron", "expression": "0 6 30 2 *"},
        steps=[NOTE, {"type": "nosuch"}, {**SQL, "depends_on": ["gone"]}],
    )
    reply = validate(live, {"job": job} if wrapped else job)
    where = "/job" if wrapped else ""
    assert marks(reply["validation_errors"]) == {
        (f"{where}/nam", "unknown_field"),
        (f"{where}/timezone", "unknown_timezone"),
        (f"{where}/schedule/expression", "invalid_cron"),
        (f"{where}/steps/1/type", "unknown_step_type"),
        (f"{where}/steps/2/depends_on/0", "unknown_step"),
    }
    assert reply["message"] == "the job has 5 faults; nothing was stored"
    assert (reply["next_runs"], reply["description"]) == ([], None)


def test_the_runs_are_told_when_the_faults_are_elsewhere(live: LiveApp) -> None:
    schedule = {"type": "cron", "expression": "0 0 31 * *"}
    reply = validate(live, {"schedule": schedule, "steps": [NOTE], "timezone": "Asia/Tokyo"})
    assert marks(reply["validation_errors"]) == {("/name", "missing")}
    assert len(reply["next_runs"]) == 5
    assert reply["description"] == "At 00:00, on day 31 of the month"
    assert marks(reply["warnings"]) == {("/schedule/expression", "day_left_out")}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"job": 5}, "/job", "wrong_type"),
        ({"job": None}, "/job", "wrong_type"),
        ({"job": note_job(), "force": True}, "/force", "unknown_field"),
        ({"job": {"name": "x", "steps": []}, "x": 1}, "/x", "unknown_field"),
        ({"job": {"name": "x", "steps": []}, "x": 1}, "/job/steps", "too_short"),
        ({}, "/name", "missing"),
        ({"name": "x", "steps": "y"}, "/steps", "wrong_type"),
        (note_job(schedule=5), "/schedule", "wrong_type"),
    ],
)
def test_whatever_can_be_read_is_answered_with_200(
    live: LiveApp, body: dict[str, Any], pointer: str, code: str
) -> None:
    assert (pointer, code) in marks(validate(live, body)["validation_errors"])


def test_what_cannot_be_read_is_refused(live: LiveApp) -> None:
    check_problem(live.call("POST", VALIDATE, "{"), 400, "malformed_body")
    check_problem(live.call("POST", VALIDATE, "[]"), 400, "malformed_body")
    check_problem(live.call("POST", VALIDATE, b""), 400, "malformed_body")
    check_problem(live.call("POST", VALIDATE, note_job(), key=None), 401, "not_authenticated")


def test_yaml_is_read_as_everywhere(live: LiveApp) -> None:
    body = "name: Noting\nsteps: [{type: note, text: hello}]\n"
    assert validate(live, body, content_type="application/yaml")["valid"] is True


@pytest.mark.parametrize(
    ("schedule", "pointer", "code"),
    [
        (
            {"type": "once", "expression": "2020-01-01T06:00:00"},
            "/schedule/expression",
            "invalid_once",
        ),
        (
            {"type": "cron", "expression": "0 6 * * *", "end_at": "2020-01-01T00:00:00Z"},
            "/schedule/end_at",
            "invalid_schedule",
        ),
    ],
)
def test_a_schedule_without_a_run_ahead_is_an_error_as_at_storing(
    live: LiveApp, schedule: dict[str, Any], pointer: str, code: str
) -> None:
    job = note_job(schedule=schedule)
    reply = validate(live, {"job": job})
    assert marks(reply["validation_errors"]) == {(f"/job{pointer}", code)}
    stored = check_problem(live.call("POST", JOBS, job), 400, "invalid_request")
    assert marks(stored["errors"]) == {(pointer, code)}


def test_a_missed_single_run_that_storing_makes_up_for_is_valid(live: LiveApp) -> None:
    at = (live.app.clock.now()).replace(microsecond=0).isoformat()
    schedule = {"type": "once", "expression": at, "catch_up": "latest"}
    assert validate(live, note_job(schedule=schedule))["valid"] is True


def test_an_id_that_is_taken_is_a_warning(live: LiveApp) -> None:
    job = note_job(id=new_id())
    assert validate(live, job)["warnings"] == []
    check_success(live.call("POST", JOBS, job), 201)
    (warning,) = validate(live, {"job": job})["warnings"]
    assert (warning["pointer"], warning["code"]) == ("/job/id", "job_exists")
    assert "PUT replaces it" in warning["message"]


@pytest.mark.parametrize("role", ["operator", "author"])
def test_a_step_type_that_the_key_does_not_allow_is_an_error(live: LiveApp, role: str) -> None:
    key = live.make_key(role, "note")
    steps = [
        NOTE,
        {"step_type": "sql", "config": {"connection_name": "local", "query": "SELECT 1"}},
    ]
    reply = validate(live, note_job(steps=steps), key=key)
    assert marks(reply["validation_errors"]) == {("/steps/1/step_type", "forbidden_step_type")}
    assert "your key does not allow the step type sql" in reply["validation_errors"][0]["message"]
    assert marks(reply["warnings"]) == ({("", "role_too_low")} if role == "operator" else set())


def test_a_viewer_checks_definitions_and_is_told_that_it_stores_none(live: LiveApp) -> None:
    reply = validate(live, note_job(steps=[SQL]), key=live.make_key("viewer"))
    assert reply["valid"] is True
    assert marks(reply["warnings"]) == {("", "role_too_low")}


def test_a_connection_that_no_setting_defines_is_a_warning(live: LiveApp) -> None:
    named = {**SQL, "connection_name": "Warehouse"}
    nested = {"type": "sql", "config": {"connection_name": "LOCAL", "query": "SELECT 1"}}
    unnamed = {"type": "sql", "query": "SELECT 1"}
    reply = validate(live, {"job": note_job(steps=[named, nested, unnamed])})
    assert reply["valid"] is True
    assert marks(reply["warnings"]) == {
        ("/job/steps/0/connection_name", "unknown_connection"),
        ("/job/steps/2/connection_name", "unknown_connection"),
    }
    assert "SCHEDULER_CONNECTION_WAREHOUSE" in reply["warnings"][0]["message"]
    assert "SCHEDULER_CONNECTION_DEFAULT" in reply["warnings"][1]["message"]


def test_a_connection_string_in_place_of_a_name_is_not_shown(live: LiveApp) -> None:
    step = {**SQL, "connection_name": "Driver=x;PWD=hunter2"}
    (warning,) = validate(live, note_job(steps=[step]))["warnings"]
    assert (warning["pointer"], warning["code"]) == (
        "/steps/0/connection_name",
        "unknown_connection",
    )
    assert "hunter2" not in warning["message"]


def test_a_zone_without_summer_time_is_a_warning_wherever_a_job_names_it(live: LiveApp) -> None:
    reply = validate(live, {"job": note_job(timezone="EST")})
    assert marks(reply["warnings"]) == {("/job/timezone", "no_summer_time")}
    created = check_success(live.call("POST", JOBS, note_job(timezone="EST")), 201)
    assert marks(created["warnings"]) == {("/timezone", "no_summer_time")}


def test_a_step_type_that_cannot_run_here_is_a_warning(
    live: LiveApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = live.app.registry.get("note")
    monkeypatch.setattr(note, "unavailable_reason", lambda: "its tool is missing: install it")
    reply = validate(live, note_job())
    assert reply["valid"] is True
    assert marks(reply["warnings"]) == {("/steps/0/type", "step_type_unavailable")}
    assert "its tool is missing: install it" in reply["warnings"][0]["message"]


@pytest.mark.parametrize(
    ("expression", "timezone", "day_before", "local", "reason"),
    [
        (
            "30 2 * * *",
            "America/New_York",
            "2035-03-10",
            "2035-03-11T03:00:00-04:00",
            "02:30 does not exist on 2035-03-11 in America/New_York; runs at 03:00 EDT",
        ),
        (
            "30 1 * * *",
            "America/New_York",
            "2035-11-03",
            "2035-11-04T01:30:00-04:00",
            "01:30 comes twice on 2035-11-04 in America/New_York; runs the first time, EDT",
        ),
        (
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2035-10-06",
            "2035-10-07T02:30:00+11:00",
            "02:15 does not exist on 2035-10-07 in Australia/Lord_Howe; runs at 02:30 +11",
        ),
        (
            "0 2 * * *",
            "Antarctica/Troll",
            "2035-03-24",
            "2035-03-25T03:00:00+02:00",
            "02:00 does not exist on 2035-03-25 in Antarctica/Troll; runs at 03:00 +02",
        ),
        (
            "30 1 * * *",
            "Europe/Dublin",
            "2035-10-27",
            "2035-10-28T01:30:00+01:00",
            "01:30 comes twice on 2035-10-28 in Europe/Dublin; runs the first time, IST",
        ),
        (
            "0 0 * * *",
            "Asia/Beirut",
            "2035-03-24",
            "2035-03-25T01:00:00+03:00",
            "00:00 does not exist on 2035-03-25 in Asia/Beirut; runs at 01:00 EEST",
        ),
    ],
)
def test_next_runs_tell_what_a_clock_change_does(
    live: LiveApp, expression: str, timezone: str, day_before: str, local: str, reason: str
) -> None:
    noon = datetime.fromisoformat(f"{day_before}T12:00:00").replace(tzinfo=ZoneInfo(timezone))
    schedule = {"type": "cron", "expression": expression, "start_at": noon.isoformat()}
    run = validate(live, note_job(schedule=schedule, timezone=timezone))["next_runs"][0]
    assert (run["local"], run["reason"]) == (local, reason)
    assert run["adjusted"] is ("does not exist" in reason)


def test_a_run_on_apias_missing_day_has_passed(live: LiveApp) -> None:
    schedule = {"type": "once", "expression": "2011-12-30T12:00:00"}
    reply = validate(live, note_job(schedule=schedule, timezone="Pacific/Apia"))
    assert marks(reply["validation_errors"]) == {("/schedule/expression", "invalid_once")}
    assert reply["warnings"] == []
    assert "2011-12-30T10:00:00Z has passed" in reply["validation_errors"][0]["message"]
    assert "runs at 00:00 +14 on 2011-12-31" in reply["description"]


def test_the_replies_of_stored_jobs_carry_the_same_warnings(live: LiveApp) -> None:
    job = note_job(id=new_id(), schedule={"type": "cron", "expression": "*/7 * * * *"})
    told = validate(live, job)["warnings"]
    assert marks(told) == {("/schedule/expression", "uneven_step")}
    created = check_success(live.call("POST", JOBS, job), 201)
    path = f"{JOBS}/{job['id']}"
    changed = check_success(live.call("PATCH", path, {"priority": 3}))
    replaced = check_success(live.call("PUT", path, job))
    read = check_success(live.call("GET", path))
    for reply in (created, changed, replaced, read):
        assert reply["warnings"] == told
