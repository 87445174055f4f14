"""Run, pause, resume, backfill and control over HTTP: who may, what is answered, what it does."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.app.exchange import JOBS, check_fault, check_problem, check_success, new_id, note_job
from tests.app.live_app import LiveApp

CONTROL = "/api/v2/control"
HOURLY = {"type": "cron", "expression": "0 * * * *"}


@pytest.fixture
def job_id(live: LiveApp) -> str:
    """A stored job that runs each hour."""
    name = new_id()
    check_success(live.call("POST", JOBS, note_job(id=name, schedule=HOURLY)), 201)
    return name


def span(hours: int) -> dict[str, str]:
    """So many hours of the past, from full hour to full hour."""
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    return {"from": (now - timedelta(hours=hours)).isoformat(), "to": now.isoformat()}


def test_a_stored_job_is_run_with_no_body_at_all(live: LiveApp, job_id: str) -> None:
    reply = live.call("POST", f"{JOBS}/{job_id}/run")
    started = check_success(reply, 202)
    assert (started["job_id"], started["trigger"]) == (job_id, "manual")
    assert reply.headers["Location"].endswith(started["execution_id"])
    live.finish(started["execution_id"])
    body = check_success(live.call("GET", reply.headers["Location"]))
    assert body["status"] == "success"


def test_the_second_of_two_runs_is_answered_as_skipped_with_the_reason(
    live: LiveApp, job_id: str
) -> None:
    first = check_success(live.call("POST", f"{JOBS}/{job_id}/run"), 202)
    second = check_success(live.call("POST", f"{JOBS}/{job_id}/run"), 200)
    assert second["status"] == "skipped"
    assert "another run of the job is unfinished" in second["message"]
    live.finish(first["execution_id"])


def test_a_paused_job_is_run_by_force_only(live: LiveApp, job_id: str) -> None:
    paused = check_success(live.call("POST", f"{JOBS}/{job_id}/pause", {"note": "moving"}))
    assert (paused["job"]["enabled"], paused["job"]["note"]) == (False, "moving")
    check_problem(live.call("POST", f"{JOBS}/{job_id}/run"), 409, "job_disabled")
    forced = check_success(live.call("POST", f"{JOBS}/{job_id}/run", {"force": True}), 202)
    live.finish(forced["execution_id"])
    resumed = check_success(live.call("POST", f"{JOBS}/{job_id}/resume"))
    assert (resumed["message"], resumed["job"]["enabled"]) == ("job resumed", True)


def test_a_pause_of_another_version_is_refused(live: LiveApp, job_id: str) -> None:
    reply = live.call("POST", f"{JOBS}/{job_id}/pause", {}, **{"If-Match": '"other"'})
    check_problem(reply, 412, "precondition_failed")


@pytest.mark.parametrize("action", ["run", "pause", "resume"])
def test_an_action_on_a_job_that_is_not_there_says_so(live: LiveApp, action: str) -> None:
    check_problem(live.call("POST", f"{JOBS}/nobody/{action}"), 404, "job_not_found")


@pytest.mark.parametrize(
    ("action", "body", "pointer"),
    [
        ("run", {"forced": True}, "/forced"),
        ("run", {"force": "yes"}, "/force"),
        ("pause", {"note": 1}, "/note"),
        ("resume", {"note": "x"}, "/note"),
        ("backfill", {"from": "2026-01-01T00:00:00Z"}, "/to"),
    ],
)
def test_a_wrong_body_is_refused_at_its_field(
    live: LiveApp, job_id: str, action: str, body: dict[str, Any], pointer: str
) -> None:
    reply = live.call("POST", f"{JOBS}/{job_id}/{action}", body)
    problem = check_problem(reply, 400, "invalid_request")
    assert pointer in [error["pointer"] for error in problem["errors"]]


def test_a_backfill_runs_each_missed_instant_once(live: LiveApp, job_id: str) -> None:
    started = check_success(live.call("POST", f"{JOBS}/{job_id}/backfill", span(3)), 202)
    ids = [one["execution_id"] for one in started["executions"]]
    assert (len(ids), started["count"], started["left_out"]) == (3, 3, [])
    for execution_id in ids:
        live.finish(execution_id)
        body = check_success(live.call("GET", f"/api/v2/executions/{execution_id}"))
        assert (body["status"], body["trigger"]) == ("success", "backfill")
    again = check_success(live.call("POST", f"{JOBS}/{job_id}/backfill", span(3)))
    assert (again["count"], len(again["left_out"])) == (0, 3)


def test_a_backfill_of_the_future_is_refused(live: LiveApp, job_id: str) -> None:
    future = {**span(1), "to": (datetime.now(UTC) + timedelta(days=1)).isoformat()}
    reply = live.call("POST", f"{JOBS}/{job_id}/backfill", future)
    check_fault(reply, "/to", "out_of_range")


def test_the_control_word_stops_what_is_asked_for_and_lets_it_go_on(
    live: LiveApp, job_id: str
) -> None:
    try:
        stopped = check_success(live.call("POST", CONTROL, {"state": "stopped", "note": "move"}))
        assert (stopped["state"], stopped["note"]) == ("stopped", "move")
        for path in (f"{JOBS}/{job_id}/run", f"{JOBS}/{job_id}/backfill"):
            body = span(1) if path.endswith("backfill") else {}
            problem = check_problem(live.call("POST", path, body), 409, "scheduler_stopped")
            assert "move" in problem["detail"]
        status = check_success(live.call("GET", "/api/v2/execution/status"))
        checks = {check["name"]: check["status"] for check in status["checks"]}
        assert (status["control"]["state"], checks["control"]) == ("stopped", "warning")
        assert status["status"] != "healthy"
    finally:
        running = check_success(live.call("POST", CONTROL, {"state": "running"}))
    assert running["state"] == "running"
    assert check_success(live.call("GET", CONTROL))["changed_at"] == running["changed_at"]


@pytest.mark.parametrize("body", [{"state": "off"}, {}, {"state": "paused", "why": "x"}])
def test_a_wrong_control_word_is_refused(live: LiveApp, body: dict[str, str]) -> None:
    check_problem(live.call("POST", CONTROL, body), 400, "invalid_request")
    assert check_success(live.call("GET", CONTROL))["state"] == "running"
