"""The audit: a row for every mutation, manual start and refusal; none for what only reads."""

import logging

import pytest

from scheduler.security.audit import AuditLog
from tests.app.exchange import EXECUTE, JOBS, KEYS, SCHEDULE, check_problem, new_id, note_job
from tests.app.live_app import LiveApp


def test_each_change_of_a_job_has_its_row(live: LiveApp) -> None:
    job_id, key = new_id(), live.make_key("author", "note")
    path, target = f"{JOBS}/{job_id}", f"job:{job_id}"
    created = live.call("POST", JOBS, note_job(id=job_id), key=key)
    live.call("PUT", path, note_job(name="Other"), key=key)
    live.call("PATCH", path, {"name": "Third"}, key=key)
    live.call("DELETE", path, key=key)
    live.call("PUT", path, note_job(), key=key)
    rows = live.audited(target=target)
    actions = [row["audit_action"] for row in sorted(rows, key=lambda row: row["at"])]
    assert actions == ["create_job", "change_job", "change_job", "delete_job", "create_job"]
    assert {(row["actor"], row["role"]) for row in rows} == {(key.split("_")[1], "author")}
    assert {(row["result"], row["code"]) for row in rows} == {("ok", "")}
    assert created.headers["X-Trace-Id"] in {row["trace_id"] for row in rows}


def test_a_scheduled_and_a_manual_start_have_theirs(live: LiveApp) -> None:
    body = {"job": note_job(id=new_id()), "scheduled_time": "2090-01-01T00:00:00"}
    scheduled = live.call("POST", SCHEDULE, body).json()
    (row,) = live.audited(target=f"job:{scheduled['job_id']}")
    assert (row["audit_action"], row["actor"]) == ("schedule_job", "first-admin")
    started = live.call("POST", EXECUTE, {"job_id": scheduled["job_id"]}).json()
    (row,) = live.audited(target=f"execution:{started['execution_id']}")
    assert (row["audit_action"], row["result"]) == ("execute_job", "ok")


def test_making_and_revoking_a_key_have_theirs_without_its_text(live: LiveApp) -> None:
    made = live.call("POST", KEYS, {"name": "x", "role": "viewer"}).json()
    live.call("DELETE", f"{KEYS}/{made['key_id']}")
    rows = live.audited(target=f"key:{made['key_id']}")
    assert {row["audit_action"] for row in rows} == {"create_key", "revoke_key"}
    assert made["key"] not in str(live.audited())


def test_a_refusal_tells_who_wanted_what_from_where(live: LiveApp) -> None:
    key = live.make_key("viewer")
    path = f"{JOBS}/{new_id()}"
    address = "203.0.113.9, 198.51.100.7:4711"
    live.call("DELETE", path, key=key, x_forwarded_for=address)
    (row,) = live.audited(target=f"DELETE {path}")
    assert row.items() >= {
        ("audit_action", "delete_job"),
        ("actor", key.split("_")[1]),
        ("result", "refused"),
        ("code", "forbidden"),
        ("address", "198.51.100.7:4711"),
    }


def test_a_caller_without_a_key_leaves_a_row_and_no_key_text(
    live: LiveApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Other tests may have been refused within this minute: begin with a process that saw nothing.
    monkeypatch.setattr(live.app, "audit", AuditLog(live.app.storage.audit, live.app.clock))
    path = f"{JOBS}/{new_id()}"
    wrong = "jsk_abcdefgh_" + "w" * 43
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            live.call("GET", path, key=wrong)
            live.call("GET", f"{path}?code={wrong}", key=None)
    rows = live.audited(target=f"GET {path}")
    assert [(row["actor"], row["code"]) for row in rows] == [("", "not_authenticated")] * 2
    assert wrong not in str(rows)
    lines = [vars(one) for one in caplog.records if vars(one).get("path") == path]
    assert [(line["status"], line["error_code"]) for line in lines] == [
        (401, "not_authenticated")
    ] * 6


def test_a_key_in_the_path_is_not_kept(live: LiveApp) -> None:
    key = live.make_key("viewer")
    live.call("DELETE", f"{KEYS}/{key}", key=key)
    (row,) = live.audited(target=f"DELETE {KEYS}/jsk_{key.split('_')[1]}_***")
    assert (row["code"], row["audit_action"]) == ("forbidden", "revoke_key")


def test_reading_and_bad_input_leave_no_row(live: LiveApp) -> None:
    job_id = new_id()
    live.call("GET", f"{JOBS}/{job_id}")
    live.call("POST", JOBS, note_job(id=job_id, steps=[]))
    live.call("DELETE", f"{JOBS}/{job_id}")
    assert [row for row in live.audited() if job_id in row["target"]] == []


def test_a_trace_that_the_client_began_goes_on(live: LiveApp) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    reply = live.call("GET", f"{JOBS}/{new_id()}", traceparent=f"00-{trace}-00f067aa0ba902b7-01")
    assert check_problem(reply, 404, "job_not_found")["trace_id"] == trace


def test_a_lost_audit_does_not_undo_or_hide_what_was_done(live: LiveApp) -> None:
    job_id = new_id()
    with live.storage_down("Audit"):
        assert live.call("POST", JOBS, note_job(id=job_id)).status == 201
        reply = live.call("GET", JOBS, key=None)
        check_problem(reply, 401, "not_authenticated")
    assert live.call("GET", f"{JOBS}/{job_id}").status == 200
