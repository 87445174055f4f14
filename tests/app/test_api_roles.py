"""Who may do what: 401 without a key, 403 with too little right, by role and by step type."""

from typing import Any

import pytest

from functions.http import ENDPOINTS
from tests.app.exchange import (
    EXECUTE,
    JOBS,
    KEYS,
    NOTE,
    PREVIEW,
    SCHEDULE,
    TIMEZONES,
    VALIDATE,
    check_problem,
    check_success,
    note_job,
)
from tests.app.live_app import LiveApp

SQL: dict[str, Any] = {"type": "sql", "connection_name": "local", "query": "select 1"}
CONTROL = "/api/v2/control"
PAST_HOUR = {"from": "2026-01-01T00:30:00Z", "to": "2026-01-01T01:30:00Z"}
EXECUTION = "{job}.20990101T000000Z"
ORDER = ("viewer", "operator", "author", "admin")
CALLS: list[tuple[str, str, str, Any]] = [
    ("viewer", "GET", JOBS, b""),
    ("viewer", "GET", f"{JOBS}/{{job}}", b""),
    ("viewer", "GET", f"/api/v2/executions/{EXECUTION}", b""),
    ("viewer", "GET", "/api/v2/executions", b""),
    ("viewer", "GET", f"{JOBS}/{{job}}/history", b""),
    ("viewer", "GET", "/api/v2/executions/{failed}/steps/first/output", b""),
    ("viewer", "GET", "/api/v2/execution/status", b""),
    ("viewer", "GET", "/api/v2/steps/types", b""),
    ("viewer", "GET", TIMEZONES, b""),
    ("viewer", "POST", PREVIEW, {"schedule": {"type": "cron", "expression": "0 6 * * *"}}),
    ("viewer", "POST", VALIDATE, note_job()),
    ("viewer", "GET", CONTROL, b""),
    ("operator", "POST", EXECUTE, {"job_id": "{job}"}),
    ("operator", "POST", f"{JOBS}/{{job}}/run", b""),
    ("operator", "POST", f"{JOBS}/{{job}}/pause", {"note": "moving"}),
    ("operator", "POST", f"{JOBS}/{{job}}/resume", b""),
    ("operator", "POST", f"{JOBS}/{{job}}/backfill", PAST_HOUR),
    ("operator", "POST", f"/api/v2/executions/{EXECUTION}/cancel", {"reason": "late"}),
    ("operator", "POST", "/api/v2/executions/{failed}/retry", b""),
    ("author", "POST", EXECUTE, note_job()),
    ("author", "POST", JOBS, note_job()),
    ("author", "PUT", f"{JOBS}/{{job}}", note_job()),
    ("author", "PATCH", f"{JOBS}/{{job}}", {"name": "Other"}),
    ("author", "DELETE", f"{JOBS}/{{job}}", b""),
    ("author", "POST", SCHEDULE, {"job": note_job(), "scheduled_time": "2090-01-01T00:00:00"}),
    ("admin", "POST", CONTROL, {"state": "running"}),
    ("admin", "DELETE", "/api/v2/executions/{failed}", b""),
    ("admin", "GET", KEYS, b""),
    ("admin", "POST", KEYS, {"name": "x", "role": "viewer"}),
    ("admin", "DELETE", f"{KEYS}/{{key}}", b""),
]


@pytest.fixture(scope="session")
def keys(live: LiveApp) -> dict[str, str]:
    """A key of each role with the right to every step type."""
    return {role: live.make_key(role, "*") for role in ORDER}


def _failed(live: LiveApp) -> str:
    """The id of an execution of a stored job whose second step has failed."""
    steps = [{**NOTE, "id": "first"}, {**NOTE, "id": "second", "fails": 9}]
    job_id = live.call("POST", JOBS, note_job(steps=steps)).json()["job_id"]
    started = live.call("POST", EXECUTE, {"job_id": job_id}).json()
    live.finish(started["execution_id"])
    return str(started["execution_id"])


def _call(live: LiveApp, method: str, path: str, body: Any, key: str | None) -> Any:  # noqa: ANN401
    schedule = {"type": "cron", "expression": "0 * * * *"}
    job_id = live.call("POST", JOBS, note_job(schedule=schedule)).json()["job_id"]
    if isinstance(body, dict) and "job_id" in body:
        body = {"job_id": job_id}
    key_id = live.make_key("viewer").split("_")[1]
    failed = _failed(live) if "{failed}" in path else ""
    path = path.format(job=job_id, key=key_id, failed=failed)
    with live.writes() as writes:
        reply = live.call(method, path, body, key=key)
    return reply, writes


@pytest.mark.parametrize(("role", "method", "path", "body"), CALLS)
def test_each_call_needs_its_role_and_that_is_enough(
    live: LiveApp,
    keys: dict[str, str],
    role: str,
    method: str,
    path: str,
    body: Any,  # noqa: ANN401
) -> None:
    reply, _ = _call(live, method, path, body, keys[role])
    assert reply.status < 300, reply.body
    if role != "viewer":
        below = ORDER[ORDER.index(role) - 1]
        refused, writes = _call(live, method, path, body, keys[below])
        problem = check_problem(refused, 403, "forbidden")
        assert f"needs the role {role}, and yours is {below}" in problem["detail"]
        assert [write for write in writes if "Keys" not in write[1]] == []


@pytest.mark.parametrize(("role", "method", "path", "body"), CALLS)
def test_each_call_needs_a_key(
    live: LiveApp,
    role: str,
    method: str,
    path: str,
    body: Any,  # noqa: ANN401
) -> None:
    reply, writes = _call(live, method, path, body, None)
    check_problem(reply, 401, "not_authenticated")
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")
    assert writes == []


def test_every_endpoint_is_among_the_calls_or_open_to_all() -> None:
    ids = {EXECUTION: "{execution_id}", "{failed}": "{execution_id}", "{job}": "{job_id}"}
    ids |= {"{key}": "{key_id}", "/first/": "/{step_id}/"}

    def route(path: str) -> str:
        for text, name in ids.items():
            path = path.replace(text, name)
        return path

    declared = {(one.method, f"/{one.route}") for one in ENDPOINTS if one.role is not None}
    assert declared == {(method, route(path)) for _, method, path, _ in CALLS}


@pytest.mark.parametrize(
    "headers",
    [
        {"x_api_key": "jsk_abcdefgh_" + "x" * 43},
        {"x_api_key": "not a key"},
        {"x_api_key": "k\u00e9y"},
        {"x_api_key": "' or 1 eq 1"},
        {"x_api_key": "x" * 10_000},
        {"authorization": "Bearer"},
        {"authorization": "Bearer  "},
        {"x_api_key": " "},
    ],
)
def test_what_is_no_valid_key_is_401_and_tells_nothing(
    live: LiveApp, headers: dict[str, str]
) -> None:
    problem = check_problem(live.call("GET", JOBS, key=None, **headers), 401, "not_authenticated")
    (sent,) = headers.values()
    assert len(sent) < 9 or sent not in problem["detail"]


@pytest.mark.parametrize("name", ["code", "api_key", "x-api-key", "access_token"])
def test_a_key_in_the_address_is_401_with_a_hint(live: LiveApp, name: str) -> None:
    key = live.make_key("viewer")
    problem = check_problem(live.call("GET", f"{JOBS}?{name}={key}"), 401, "not_authenticated")
    assert "X-API-Key" in problem["detail"]
    assert key not in str(problem)


def test_the_right_to_a_step_type_is_asked_for_by_each_call_that_touches_it(live: LiveApp) -> None:
    author = live.make_key("author", "note")
    sql_job = note_job(steps=[NOTE, SQL])
    job_id = live.call("POST", JOBS, sql_job).json()["job_id"]
    path = f"{JOBS}/{job_id}"
    check_success(live.call("GET", path, key=author))
    calls: list[tuple[str, str, Any]] = [
        ("POST", JOBS, sql_job),
        ("PUT", path, sql_job),
        ("PUT", path, note_job()),
        ("PATCH", path, {"name": "Other"}),
        ("PATCH", path, {"steps": [NOTE]}),
        ("DELETE", path, b""),
        ("POST", EXECUTE, sql_job),
        ("POST", EXECUTE, {"job_id": job_id}),
        ("POST", SCHEDULE, {"job": sql_job, "scheduled_time": "2090-01-01T00:00:00"}),
    ]
    for method, target, body in calls:
        with live.writes() as writes:
            reply = live.call(method, target, body, key=author)
        assert "step type sql" in check_problem(reply, 403, "forbidden")["detail"]
        assert [write for write in writes if "Keys" not in write[1]] == [], (method, target)
    check_success(live.call("POST", JOBS, note_job(), key=author), 201)


def test_an_operator_runs_stored_jobs_of_allowed_types_only(live: LiveApp) -> None:
    operator = live.make_key("operator", "sql")
    note_id = live.call("POST", JOBS, note_job()).json()["job_id"]
    sql_id = live.call("POST", JOBS, note_job(steps=[SQL])).json()["job_id"]
    check_problem(live.call("POST", EXECUTE, {"job_id": note_id}, key=operator), 403, "forbidden")
    started = check_success(live.call("POST", EXECUTE, {"job_id": sql_id}, key=operator), 202)
    assert live.finish(started["execution_id"])["requested_by"] == operator.split("_")[1]


def test_the_right_is_checked_before_the_body_is_read(live: LiveApp) -> None:
    viewer = live.make_key("viewer")
    check_problem(live.call("POST", JOBS, b"{", key=viewer), 403, "forbidden")
    check_problem(live.call("POST", JOBS, b"{", key=None), 401, "not_authenticated")
