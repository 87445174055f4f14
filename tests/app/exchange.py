"""What the tests of the API send, and what every reply of a kind must look like."""

import re
import secrets
from typing import Any

from tools.devhost.wire import Response

NOTE: dict[str, Any] = {"type": "note", "text": "hello"}
JOBS = "/api/v2/jobs"
EXECUTE = "/api/v2/jobs/execute"
SCHEDULE = "/api/v2/jobs/schedule"
KEYS = "/api/v2/keys"
VALIDATE = "/api/v2/jobs/validate"
PREVIEW = "/api/v2/schedules/preview"
TIMEZONES = "/api/v2/timezones"

_MEMBERS = {
    *("type", "title", "status", "detail", "code", "trace_id", "errors"),
    *("success", "error"),
}


def new_id() -> str:
    """A job id that no other test uses."""
    return f"job-{secrets.token_hex(5)}"


def note_job(**fields: Any) -> dict[str, Any]:  # noqa: ANN401
    """A job of one step that notes a text."""
    return {"name": "Noting", "steps": [NOTE], **fields}


def check_problem(reply: Response, status: int, code: str) -> dict[str, Any]:
    """Asserts that a reply is a problem of this status and code, in the one shape of all."""
    body: dict[str, Any] = reply.json()
    assert (reply.status, body["code"]) == (status, code), body
    assert reply.headers["Content-Type"].partition(";")[0] == "application/problem+json"
    assert set(body) == _MEMBERS
    assert body["status"] == status
    assert body["type"].endswith(code)
    assert body["title"]
    assert body["success"] is False
    assert body["error"] == body["detail"] != ""
    assert reply.headers["x-ms-error-code"] == code
    assert reply.headers["Cache-Control"] == "no-store"
    assert re.fullmatch("[0-9a-f]{32}", body["trace_id"])
    assert reply.headers["X-Trace-Id"] == body["trace_id"]
    return body


def check_fault(reply: Response, pointer: str, fault: str, code: str = "invalid_request") -> str:
    """Asserts a 4xx whose one fault is this, and returns its message."""
    assert 400 <= reply.status < 500, reply.body
    errors = check_problem(reply, reply.status, code)["errors"]
    assert [(error["pointer"], error["code"]) for error in errors] == [(pointer, fault)]
    return str(errors[0]["message"])


def check_success(reply: Response, status: int = 200) -> dict[str, Any]:
    """Asserts a JSON reply with `success: true`."""
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"].partition(";")[0] == "application/json"
    body: dict[str, Any] = reply.json()
    assert body["success"] is True
    return body
