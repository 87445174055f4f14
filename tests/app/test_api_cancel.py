"""Cancelling over HTTP: what is answered, when it is sent twice, too late, or wrong."""

from typing import Any

import pytest

from tests.app.exchange import (
    EXECUTE,
    JOBS,
    check_fault,
    check_problem,
    check_success,
    new_id,
    note_job,
)
from tests.app.live_app import LiveApp


def started(live: LiveApp) -> str:
    """An execution whose start nobody has taken yet."""
    return str(check_success(live.call("POST", EXECUTE, note_job()), 202)["execution_id"])


def cancel_of(execution_id: str) -> str:
    return f"/api/v2/executions/{execution_id}/cancel"


def test_an_execution_that_waits_ends_at_once_and_tells_who_and_why(live: LiveApp) -> None:
    execution_id = started(live)
    reply = live.call("POST", cancel_of(execution_id), {"reason": "not needed"})
    body = check_success(reply, 200)
    assert (body["status"], body["execution_id"]) == ("cancelled", execution_id)
    assert body["cancel"]["reason"] == "not needed"
    assert body["message"].endswith(": not needed")
    assert body["cancel"]["by"] in body["message"]
    assert "warnings" not in body
    assert check_success(live.call("GET", f"/api/v2/executions/{execution_id}")) == body


def test_a_second_cancel_changes_nothing(live: LiveApp) -> None:
    execution_id = started(live)
    first = check_success(live.call("POST", cancel_of(execution_id), {"reason": "first"}))
    again = check_success(live.call("POST", cancel_of(execution_id), {"reason": "second"}))
    assert again == first


def test_an_execution_that_has_ended_stays_so_and_the_reply_says_it(live: LiveApp) -> None:
    execution_id = started(live)
    live.finish(execution_id)
    body = check_success(live.call("POST", cancel_of(execution_id)))
    assert body["status"] == "success"
    (warning,) = body["warnings"]
    assert warning["code"] == "already_ended"


def test_a_coming_run_is_cancelled_and_the_job_goes_on(live: LiveApp) -> None:
    schedule = {"type": "cron", "expression": "0 0 1 1 *"}
    job_id = new_id()
    made = check_success(live.call("POST", JOBS, note_job(id=job_id, schedule=schedule)), 201)
    times = [one["utc"].replace("-", "").replace(":", "") for one in made["next_runs"][:2]]
    first, second = (f"{job_id}.{time}" for time in times)
    body = check_success(live.call("POST", cancel_of(first), b""))
    assert (body["status"], body["start_time"]) == ("cancelled", None)
    assert check_success(live.call("GET", f"/api/v2/executions/{second}"))["status"] == "pending"


@pytest.mark.parametrize("execution_id", ["nothing.20260101T000000Z", "no-id", "x" * 300])
def test_an_unknown_execution_is_not_found(live: LiveApp, execution_id: str) -> None:
    check_problem(live.call("POST", cancel_of(execution_id)), 404, "execution_not_found")


@pytest.mark.parametrize(
    ("body", "pointer", "fault"),
    [
        ({"why": "x"}, "/why", "unknown_field"),
        ({"reason": 7}, "/reason", "wrong_type"),
        ({"reason": "x" * 1_001}, "/reason", "too_long"),
    ],
)
def test_a_wrong_body_cancels_nothing(
    live: LiveApp, body: dict[str, Any], pointer: str, fault: str
) -> None:
    execution_id = started(live)
    with live.writes() as writes:
        reply = live.call("POST", cancel_of(execution_id), body)
    check_fault(reply, pointer, fault)
    assert writes == []
    assert check_success(live.call("GET", f"/api/v2/executions/{execution_id}"))["cancel"] is None
