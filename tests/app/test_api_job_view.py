"""What was read may be sent back, whole or in part, by every call that takes a job."""

from typing import Any

import pytest

from tests.app.exchange import (
    EXECUTE,
    JOBS,
    SCHEDULE,
    check_fault,
    check_problem,
    check_success,
    new_id,
    note_job,
)
from tests.app.live_app import LiveApp


@pytest.fixture
def read(live: LiveApp) -> dict[str, Any]:
    """A job as its own reply shows it."""
    job = note_job(id=new_id(), schedule={"type": "cron", "expression": "0 5 * * *"})
    check_success(live.call("POST", JOBS, job), 201)
    shown: dict[str, Any] = live.call("GET", f"{JOBS}/{job['id']}").json()["job"]
    assert shown["created_at"]
    return shown


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_job_that_was_read_changes_nothing_when_sent_back(
    live: LiveApp, read: dict[str, Any], method: str, wrapped: bool
) -> None:
    body = {**read, "schedule_error": "from an earlier look"}
    reply = live.call(method, f"{JOBS}/{read['id']}", {"job": body} if wrapped else body)
    shown = check_success(reply)["job"]
    assert {**shown, "updated_at": ""} == {**read, "updated_at": ""}


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_job_that_was_read_is_copied_under_another_id(
    live: LiveApp, read: dict[str, Any], wrapped: bool
) -> None:
    body = {**read, "id": new_id()}
    check_success(live.call("POST", JOBS, {"job": body} if wrapped else body), 201)
    body = {**read, "id": new_id()}
    check_success(live.call("POST", SCHEDULE, {"job": body}), 201)


def test_a_job_that_was_read_runs_under_another_id(live: LiveApp, read: dict[str, Any]) -> None:
    check_success(live.call("POST", EXECUTE, {"job": {**read, "id": new_id()}}), 202)


def test_a_patch_in_a_job_member_tells_its_faults_there(
    live: LiveApp, read: dict[str, Any]
) -> None:
    path = f"{JOBS}/{read['id']}"
    check_success(live.call("PATCH", path, {"job": {"name": "Other"}}))
    assert live.call("GET", path).json()["job"]["name"] == "Other"
    check_fault(
        live.call("PATCH", path, {"job": {"priority": 99}}), "/job/priority", "out_of_range"
    )
    beside = live.call("PATCH", path, {"job": {"name": "x"}, "priority": 1})
    check_fault(beside, "/priority", "unknown_field")


def test_a_wrapped_job_is_told_of_late_faults_below_its_own_pointer(live: LiveApp) -> None:
    past = note_job(schedule={"type": "once", "expression": "2020-01-01T05:00:00Z"})
    check_fault(live.call("POST", JOBS, {"job": past}), "/job/schedule/expression", "invalid_once")
    check_fault(live.call("POST", JOBS, past), "/schedule/expression", "invalid_once")


def test_a_job_and_what_stands_beside_it_are_told_of_at_once(live: LiveApp) -> None:
    body = {"job": {"name": "x", "steps": []}, "x": 1}
    problem = check_problem(live.call("POST", JOBS, body), 400, "invalid_request")
    assert {error["pointer"] for error in problem["errors"]} == {"/x", "/job/steps"}
