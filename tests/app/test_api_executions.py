"""`executions/{id}`: the shape of a reply, and ids that name nothing."""

from datetime import datetime
from urllib.parse import quote

import pytest

from tests.app.exchange import EXECUTE, JOBS, NOTE, check_problem, check_success, new_id, note_job
from tests.app.live_app import LiveApp

EXECUTIONS = "/api/v2/executions"
EXECUTION_FIELDS = {
    *("success", "message", "execution_id", "job_id", "job_name", "status", "timezone"),
    *("scheduled_time", "start_time", "end_time", "duration_seconds", "trigger", "attempt"),
    *("steps", "step_count", "successful_steps", "failed_steps", "metadata"),
}
STEP_FIELDS = {
    *("step_id", "step_name", "step_type", "status", "attempts", "start_time", "end_time"),
    *("duration_seconds", "output", "output_truncated", "error_message", "error_code", "metadata"),
}


def test_a_finished_execution_tells_everything_about_its_steps(live: LiveApp) -> None:
    steps = [
        {**NOTE, "id": "first", "name": "First step"},
        {**NOTE, "id": "second", "fails": 1, "continue_on_failure": True},
        {**NOTE, "id": "third"},
    ]
    started = live.call("POST", EXECUTE, note_job(steps=steps)).json()
    live.finish(started["execution_id"])
    reply = live.call("GET", f"{EXECUTIONS}/{started['execution_id']}")
    body = check_success(reply)
    assert "Retry-After" not in reply.headers
    assert body.keys() >= EXECUTION_FIELDS
    assert all(step.keys() >= STEP_FIELDS for step in body["steps"])
    assert body["status"] == "partial_success"
    assert (body["step_count"], body["successful_steps"], body["failed_steps"]) == (3, 2, 1)
    first, second, _ = body["steps"]
    assert (first["step_name"], second["step_name"]) == ("First step", "second")
    assert (first["output"], first["metadata"]) == ({"text": "hello"}, {"length": 5})
    assert (second["status"], second["error_code"]) == ("failed", "note_refused")
    times = [body["scheduled_time"], body["start_time"], body["end_time"]]
    instants = [datetime.fromisoformat(time) for time in times]
    assert instants == sorted(instants)
    assert all(instant.tzinfo is not None for instant in instants)


def test_a_failed_execution_says_which_step_and_why(live: LiveApp) -> None:
    steps = [{**NOTE, "id": "load", "fails": 9}, {**NOTE, "id": "report"}]
    started = live.call("POST", EXECUTE, note_job(steps=steps)).json()
    body = live.finish(started["execution_id"])
    assert body["status"] == "failed"
    assert body["message"] == "step load failed: attempt 1 was told to fail"
    assert [step["status"] for step in body["steps"]] == ["failed", "skipped"]


@pytest.mark.parametrize(
    "execution_id",
    [
        "nothing",
        "{job}",
        "{job}.20260101T000000Z",
        "{job}.20260101T000000Z-00000000",
        "{job}.20990101T000001Z",
        "{job}.20990101T000000Z.b1",
        "{job}.20991301T000000Z",
        "{job}.00010101T000000Z",
        "{job}.99991231T235959Z",
        "{job}.\uff12\uff10\uff19\uff190101T000000Z",
        "{job}.20990101T000000Z\n",
        "' or 1 eq 1 or '.20990101T000000Z",
        "{job}/.20990101T000000Z",
        "\0",
        "é",
        "x" * 3_000,
    ],
)
def test_an_id_that_names_no_execution_is_not_found(live: LiveApp, execution_id: str) -> None:
    schedule = {"type": "cron", "expression": "0 * * * *"}
    job_id = live.call("POST", JOBS, note_job(id=new_id(), schedule=schedule)).json()["job_id"]
    text = quote(execution_id.replace("{job}", job_id), safe="")
    reply = live.call("GET", f"{EXECUTIONS}/{text}")
    check_problem(reply, 404, "execution_not_found")
    assert len(reply.body) < 2_000


def test_every_coming_run_of_a_schedule_can_be_read(live: LiveApp) -> None:
    schedule = {"type": "cron", "expression": "0 * * * *"}
    job_id = live.call("POST", JOBS, note_job(id=new_id(), schedule=schedule)).json()["job_id"]
    reply = live.call("GET", f"{EXECUTIONS}/{job_id}.20990101T000000Z")
    assert check_success(reply)["status"] == "pending"
