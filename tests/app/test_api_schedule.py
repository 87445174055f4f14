"""`jobs/schedule`: a job stored with the time of its run."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.api.faults import did_you_mean
from tests.app.exchange import (
    JOBS,
    SCHEDULE,
    check_fault,
    check_problem,
    check_success,
    new_id,
    note_job,
)
from tests.app.live_app import LiveApp

EXECUTIONS = "/api/v2/executions"
YEAR = datetime.now(UTC).year + 1
JANUARY = f"{YEAR}-01-15T06:30:00"


@pytest.mark.parametrize(
    ("fields", "zone", "utc"),
    [
        ({"scheduled_time": JANUARY}, "UTC", f"{YEAR}-01-15T06:30:00Z"),
        (
            {"scheduled_time": JANUARY, "timezone": "America/New_York"},
            "America/New_York",
            f"{YEAR}-01-15T11:30:00Z",
        ),
        (
            {"scheduled_time": f"{JANUARY}+05:45", "timezone": "asia/kathmandu"},
            "Asia/Kathmandu",
            f"{YEAR}-01-15T00:45:00Z",
        ),
        ({"scheduled_time": f"{JANUARY}Z", "timezone": None}, "UTC", f"{YEAR}-01-15T06:30:00Z"),
    ],
)
def test_a_time_is_read_in_its_offset_or_else_in_the_zone(
    live: LiveApp, fields: dict[str, Any], zone: str, utc: str
) -> None:
    reply = live.call("POST", SCHEDULE, {"job": note_job(), **fields})
    body = check_success(reply, 201)
    assert (body["status"], body["timezone"]) == ("scheduled", zone)
    assert datetime.fromisoformat(body["scheduled_time"]) == datetime.fromisoformat(utc)
    assert [run["utc"] for run in body["next_runs"]] == [utc]
    assert reply.headers["Location"] == f"{JOBS}/{body['job_id']}"
    stored = check_success(live.call("GET", reply.headers["Location"]))["job"]
    assert (stored["timezone"], stored["schedule"]["type"]) == (zone, "once")


def test_the_jobs_own_zone_wins_for_the_job_and_the_calls_zone_reads_the_time(
    live: LiveApp,
) -> None:
    body = {
        "job": note_job(timezone="Asia/Tokyo"),
        "timezone": "America/New_York",
        "scheduled_time": JANUARY,
    }
    answer = check_success(live.call("POST", SCHEDULE, body), 201)
    assert answer["timezone"] == "Asia/Tokyo"
    assert answer["scheduled_time"] == f"{YEAR}-01-15T20:30:00+09:00"


def test_without_a_time_the_jobs_own_schedule_holds(live: LiveApp) -> None:
    job = note_job(schedule={"type": "cron", "expression": "0 6 1 1 *"}, timezone="Europe/Berlin")
    answer = check_success(live.call("POST", SCHEDULE, {"job": job}), 201)
    assert answer["scheduled_time"] == f"{YEAR}-01-01T06:00:00+01:00"
    assert len(answer["next_runs"]) == 5


def test_the_coming_execution_can_be_read_as_pending(live: LiveApp) -> None:
    answer = live.call("POST", SCHEDULE, {"job": note_job(), "scheduled_time": JANUARY}).json()
    reply = live.call("GET", f"{EXECUTIONS}/{answer['execution_id']}")
    execution = check_success(reply)
    assert reply.headers["Retry-After"] == "1"
    assert (execution["status"], execution["trigger"]) == ("pending", "schedule")
    assert execution["execution_id"] == answer["execution_id"]
    assert datetime.fromisoformat(execution["scheduled_time"]) == datetime.fromisoformat(
        f"{JANUARY}Z"
    )
    assert (execution["start_time"], execution["step_count"]) == (None, 1)
    live.call("DELETE", f"{JOBS}/{answer['job_id']}")
    gone = live.call("GET", f"{EXECUTIONS}/{answer['execution_id']}")
    check_problem(gone, 404, "execution_not_found")


def test_a_run_that_comes_before_the_next_tick_is_started_all_the_same(live: LiveApp) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=2)
    body = {"job": note_job(), "scheduled_time": soon.isoformat()}
    answer = check_success(live.call("POST", SCHEDULE, body), 201)
    execution = live.finish(answer["execution_id"])
    assert (execution["status"], execution["trigger"]) == ("success", "schedule")
    assert datetime.fromisoformat(execution["scheduled_time"]) == soon
    started = datetime.fromisoformat(execution["start_time"])
    assert timedelta(0) <= started - soon < timedelta(seconds=5)


def test_a_paused_job_is_stored_without_a_run(live: LiveApp) -> None:
    body = {"job": note_job(enabled=False), "scheduled_time": JANUARY}
    answer = check_success(live.call("POST", SCHEDULE, body), 201)
    assert (answer["status"], answer["next_runs"]) == ("disabled", [])
    assert "execution_id" not in answer


@pytest.mark.parametrize(
    ("fields", "pointer", "fault"),
    [
        ({"scheduled_time": "2020-01-01T00:00:00"}, "/scheduled_time", "in_the_past"),
        ({"scheduled_time": "tomorrow"}, "/scheduled_time", "invalid_once"),
        ({"scheduled_time": ""}, "/scheduled_time", "invalid_once"),
        ({"scheduled_time": "9" * 100_000}, "/scheduled_time", "invalid_once"),
        ({"scheduled_time": "9999-12-31T23:59:59-12:00"}, "/scheduled_time", "invalid_once"),
        ({"scheduled_time": f"{YEAR}-02-30T00:00:00"}, "/scheduled_time", "invalid_once"),
        ({"scheduled_time": 1_900_000_000}, "/scheduled_time", "wrong_type"),
        ({"scheduled_time": JANUARY, "timezone": 5}, "/timezone", "wrong_type"),
        ({"scheduled_tim": JANUARY}, "/scheduled_tim", "unknown_field"),
        ({}, "/scheduled_time", "missing"),
        ({"scheduled_time": None}, "/scheduled_time", "missing"),
        ({"job": None, "scheduled_time": JANUARY}, "/job", "missing"),
        ({"job": note_job(id="a/b"), "scheduled_time": JANUARY}, "/job/id", "invalid_format"),
        (
            {"job": note_job(timezone="Mars/Base"), "scheduled_time": JANUARY},
            "/job/timezone",
            "unknown_timezone",
        ),
    ],
)
def test_a_wrong_body_is_refused_and_nothing_is_written(
    live: LiveApp, fields: dict[str, Any], pointer: str, fault: str
) -> None:
    with live.writes() as writes:
        reply = live.call("POST", SCHEDULE, {"job": note_job(), **fields})
        check_fault(reply, pointer, fault)
    assert writes == []
    assert len(reply.body) < 2_000


def test_all_faults_of_the_call_its_time_and_its_job_are_told_at_once(live: LiveApp) -> None:
    job = note_job(priority=10, steps=[{"type": "note", "text": 5}], colour="red")
    body = {"job": job, "scheduled_time": "2020-01-01T00:00:00", "zone": "UTC"}
    with live.writes() as writes:
        errors = check_problem(live.call("POST", SCHEDULE, body), 400, "invalid_request")["errors"]
    assert {(error["pointer"], error["code"]) for error in errors} == {
        ("/zone", "unknown_field"),
        ("/scheduled_time", "in_the_past"),
        ("/job/priority", "out_of_range"),
        ("/job/colour", "unknown_field"),
        ("/job/steps/0/text", "wrong_type"),
    }
    assert writes == []


def test_a_wrong_zone_does_not_hide_the_faults_of_time_and_job(live: LiveApp) -> None:
    body = {"job": note_job(priority=10), "scheduled_time": "soon", "timezone": "Mars/Base"}
    errors = check_problem(live.call("POST", SCHEDULE, body), 400, "invalid_request")["errors"]
    assert {(error["pointer"], error["code"]) for error in errors} == {
        ("/timezone", "unknown_timezone"),
        ("/scheduled_time", "invalid_once"),
        ("/job/priority", "out_of_range"),
    }


def test_a_job_that_was_read_can_be_scheduled_as_it_is(live: LiveApp) -> None:
    job = live.call("POST", JOBS, note_job(id=new_id())).json()["job"]
    body = {"job": {**job, "id": new_id()}, "scheduled_time": JANUARY}
    check_success(live.call("POST", SCHEDULE, body), 201)


def test_an_unknown_zone_of_the_call_is_refused(live: LiveApp) -> None:
    body = {"job": note_job(), "scheduled_time": JANUARY, "timezone": "Mars/Base"}
    reply = live.call("POST", SCHEDULE, body)
    check_fault(reply, "/timezone", "unknown_timezone")
    assert reply.json()["detail"].startswith("/timezone: ")


def test_a_schedule_without_a_run_ahead_is_told_at_its_place_in_the_body(live: LiveApp) -> None:
    past = note_job(schedule={"type": "once", "expression": "2020-01-01T05:00:00Z"})
    for path, body, where in ((SCHEDULE, {"job": past}, "/job"), (JOBS, past, "")):
        reply = live.call("POST", path, body)
        check_fault(reply, f"{where}/schedule/expression", "invalid_once")
        assert reply.json()["detail"].startswith(f"{where}/schedule/expression: ")


def test_near_names_are_looked_for_only_as_far_as_faults_are_told(
    live: LiveApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_for: list[str] = []

    def look(word: str, known: Collection[str]) -> str:
        looked_for.append(word)
        return did_you_mean(word, known)

    monkeypatch.setattr("scheduler.api.faults.did_you_mean", look)
    body = {"job": note_job(), **{f"field_{number}": 1 for number in range(5_000)}}
    errors = check_problem(live.call("POST", SCHEDULE, body), 400, "invalid_request")["errors"]
    assert len(errors) == len(looked_for) == 100


def test_a_taken_id_is_refused(live: LiveApp) -> None:
    body = {"job": note_job(id=new_id()), "scheduled_time": JANUARY}
    check_success(live.call("POST", SCHEDULE, body), 201)
    with live.writes() as writes:
        check_problem(live.call("POST", SCHEDULE, body), 409, "job_exists")
    assert writes == []


def test_a_time_that_a_clock_change_skips_is_told_to_be_adjusted(live: LiveApp) -> None:
    job = note_job(id=new_id(), timezone="America/New_York")
    reply = live.call("POST", SCHEDULE, {"job": job, "scheduled_time": "2027-03-14T02:30:00"})
    scheduled = check_success(reply, 201)
    assert scheduled["scheduled_time"] == "2027-03-14T03:00:00-04:00"
    run = scheduled["next_runs"][0]
    assert (run["utc"], run["adjusted"]) == ("2027-03-14T07:00:00Z", True)
    assert "02:30 does not exist" in run["reason"]
