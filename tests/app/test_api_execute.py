"""`jobs/execute`: inline and stored jobs, waiting for the end, and what is refused."""

from typing import Any

import pytest

from tests.app.exchange import (
    EXECUTE,
    JOBS,
    NOTE,
    SCHEDULE,
    check_fault,
    check_problem,
    check_success,
    new_id,
    note_job,
)
from tests.app.live_app import LiveApp


@pytest.mark.parametrize("wrap", [lambda job: job, lambda job: {"job": job}])
def test_an_inline_job_runs_without_being_stored(live: LiveApp, wrap: Any) -> None:  # noqa: ANN401
    reply = live.call("POST", EXECUTE, wrap(note_job(metadata={"ticket": 7})))
    started = check_success(reply, 202)
    execution_id = started["execution_id"]
    assert reply.headers["Location"] == f"/api/v2/executions/{execution_id}"
    assert reply.headers["Operation-Location"].endswith(reply.headers["Location"])
    assert reply.headers["Retry-After"] == "1"
    assert (started["status"], started["trigger"]) == ("pending", "manual")
    assert [step["status"] for step in started["steps"]] == ["pending"]
    finished = live.finish(execution_id)
    assert (finished["status"], finished["metadata"]) == ("success", {"ticket": 7})
    assert finished["steps"][0]["output"] == {"text": "hello"}
    check_problem(live.call("GET", f"{JOBS}/{started['job_id']}"), 404, "job_not_found")


def test_a_stored_job_runs_by_its_id(live: LiveApp) -> None:
    job_id = live.call("POST", JOBS, note_job(timezone="America/New_York")).json()["job_id"]
    started = check_success(live.call("POST", EXECUTE, {"job_id": job_id}), 202)
    assert started["job_id"] == job_id
    assert started["execution_id"].startswith(f"{job_id}.")
    assert live.finish(started["execution_id"])["timezone"] == "America/New_York"


def test_a_disabled_job_needs_force(live: LiveApp) -> None:
    job_id = live.call("POST", JOBS, note_job(enabled=False)).json()["job_id"]
    with live.writes() as writes:
        for body in ({"job_id": job_id}, {"job_id": job_id, "force": False}):
            problem = check_problem(live.call("POST", EXECUTE, body), 409, "job_disabled")
            assert "force: true" in problem["detail"]
    assert writes == []
    started = live.call("POST", EXECUTE, {"job_id": job_id, "force": True})
    assert live.finish(check_success(started, 202)["execution_id"])["status"] == "success"


def test_a_caller_who_waits_gets_the_finished_execution(live: LiveApp) -> None:
    reply = live.call("POST", EXECUTE, note_job(), prefer="respond-async, wait=20")
    assert check_success(reply)["status"] == "success"
    assert reply.headers["Preference-Applied"] == "wait=20"
    assert "Retry-After" not in reply.headers


def test_a_caller_who_waits_too_short_gets_202(live: LiveApp) -> None:
    failing = note_job(steps=[{**NOTE, "fails": 9}], max_retries=1, retry_delay=60)
    reply = live.call("POST", EXECUTE, failing, prefer="wait=1")
    assert check_success(reply, 202)["status"] in ("pending", "retrying")
    assert reply.headers["Retry-After"] == "1"


@pytest.mark.parametrize("prefer", ["wait=abc", "wait=-5", "wait", "", "return=minimal"])
def test_a_preference_that_cannot_be_read_is_passed_over(live: LiveApp, prefer: str) -> None:
    reply = live.call("POST", EXECUTE, note_job(), prefer=prefer)
    check_success(reply, 202)
    assert "Preference-Applied" not in reply.headers


def test_a_retried_step_tells_of_both_attempts(live: LiveApp) -> None:
    step = {**NOTE, "text": "try {{attempt}}", "fails": 1, "max_retries": 1, "retry_delay": 1}
    started = check_success(live.call("POST", EXECUTE, note_job(steps=[step])), 202)
    (done,) = live.finish(started["execution_id"])["steps"]
    assert (done["status"], done["attempts"], done["output"]) == ("success", 2, {"text": "try 2"})
    outcomes = [(one["outcome"], one["error_code"]) for one in done["attempt_history"]]
    assert outcomes == [("failed", "note_refused"), ("success", None)]


def test_sql_runs_on_a_real_database(live: LiveApp) -> None:
    step = {
        "type": "sql",
        "connection_name": "local",
        "query": "select ? as day, 1 as one",
        "parameters": ["{{today}}"],
    }
    reply = live.call("POST", EXECUTE, note_job(steps=[step]), prefer="wait=20")
    body = check_success(reply)
    day = body["scheduled_time"][:10]
    assert body["steps"][0]["output"]["rows"] == [{"day": day, "one": 1}]


@pytest.mark.parametrize(
    ("body", "pointer", "fault"),
    [
        ({"job_id": None}, "/job_id", "wrong_type"),
        ({"job_id": 5}, "/job_id", "wrong_type"),
        ({"job_id": "x", "force": "yes"}, "/force", "wrong_type"),
        ({"job_id": "x", "job": {}}, "/job", "unexpected_field"),
        ({"job_id": "x", "priority": 1}, "/priority", "unexpected_field"),
        ({"job": None}, "/job", "wrong_type"),
        ({"job": note_job(), "force": True}, "/force", "unknown_field"),
        ({"job": note_job(nmae="x")}, "/job/nmae", "unknown_field"),
    ],
)
def test_a_wrong_body_is_refused_and_nothing_is_written(
    live: LiveApp, body: dict[str, Any], pointer: str, fault: str
) -> None:
    with live.writes() as writes:
        check_fault(live.call("POST", EXECUTE, body), pointer, fault)
    assert writes == []


@pytest.mark.parametrize("job_id", ["nope", "", "a/b", "a\\b", "..", "a'b", "é", "x" * 100_000])
def test_an_id_that_no_job_has_is_not_found(live: LiveApp, job_id: str) -> None:
    reply = live.call("POST", EXECUTE, {"job_id": job_id})
    check_problem(reply, 404, "job_not_found")
    assert len(reply.body) < 2_000


def test_an_inline_job_may_not_take_the_id_of_a_stored_one(live: LiveApp) -> None:
    job_id = new_id()
    live.call("POST", JOBS, note_job(id=job_id))
    with live.writes() as writes:
        reply = live.call("POST", EXECUTE, note_job(id=job_id, name="Other"))
    check_problem(reply, 409, "job_exists")
    assert writes == []


def test_a_call_sent_again_with_its_idempotency_key_is_answered_and_not_done_again(
    live: LiveApp,
) -> None:
    job, key = note_job(), {"Idempotency-Key": new_id()}
    first = live.call("POST", EXECUTE, job, **key)
    again = live.call("POST", EXECUTE, job, **key)
    started = check_success(first, 202)
    assert check_success(again, 202)["execution_id"] == started["execution_id"]
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    live.finish(started["execution_id"])
    late = live.call("POST", EXECUTE, job, **key)
    assert check_success(late)["status"] == "success"
    other = live.call("POST", EXECUTE, note_job(name="Other"), **key)
    check_problem(other, 422, "idempotency_key_reused")


@pytest.mark.parametrize("path", [JOBS, SCHEDULE])
def test_a_job_stored_again_with_its_idempotency_key_is_one_job(live: LiveApp, path: str) -> None:
    job = note_job(schedule={"type": "cron", "expression": "0 0 1 1 *"})
    body, key = (job if path == JOBS else {"job": job}), {"Idempotency-Key": new_id()}
    first, again = (live.call("POST", path, body, **key) for _ in range(2))
    assert check_success(again, 201)["job_id"] == check_success(first, 201)["job_id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]


@pytest.mark.parametrize("key", ["", "two words", "x" * 201, "\u00e9"])
def test_an_idempotency_key_that_is_none_is_told(live: LiveApp, key: str) -> None:
    with live.writes() as writes:
        reply = live.call("POST", EXECUTE, note_job(), **{"Idempotency-Key": key})
    assert "send a new UUID" in check_problem(reply, 400, "invalid_idempotency_key")["detail"]
    assert writes == []
