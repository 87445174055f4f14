"""Paths, methods and patches that fit no job: refused, and nothing is written."""

from typing import Any
from urllib.parse import quote

import pytest

from tests.app.exchange import JOBS, check_fault, check_problem, check_success, new_id, note_job
from tests.app.live_app import LiveApp


@pytest.mark.parametrize(
    "job_id", ["a/b", "x" * 65, "a'b", "a\r\nSet-Cookie: b", "é", "a b", "a\\b", "a#b", "a?b", "\0"]
)
def test_a_job_cannot_be_put_under_an_id_that_is_none(live: LiveApp, job_id: str) -> None:
    path = f"{JOBS}/{quote(job_id, safe='')}"
    with live.writes() as writes:
        check_fault(live.call("PUT", path, note_job()), "/id", "invalid_format")
        for method, body in (("GET", {}), ("DELETE", {}), ("PATCH", {"name": "x"})):
            check_problem(live.call(method, path, body), 404, "job_not_found")
    assert writes == []


@pytest.mark.parametrize("path", ["a/b", "..", "%2e%2e", "../jobs/x/y", "x/../../y"])
def test_a_path_that_leads_elsewhere_is_no_job(live: LiveApp, path: str) -> None:
    with live.writes() as writes:
        reply = live.call("PUT", f"{JOBS}/{path}", note_job())
    check_problem(reply, 404, "route_not_found")
    assert writes == []


def test_a_put_whose_body_names_another_id_is_refused(live: LiveApp) -> None:
    reply = live.call("PUT", f"{JOBS}/{new_id()}", note_job(id=new_id()))
    check_fault(reply, "/id", "id_mismatch")


@pytest.mark.parametrize(
    ("patch", "pointer", "fault"),
    [
        ({"id": "other"}, "/id", "id_mismatch"),
        ({"steps": None}, "/steps", "missing"),
        ({"nmae": "x"}, "/nmae", "unknown_field"),
        ({"schedule": {"type": "cron"}}, "/schedule/expression", "missing"),
    ],
)
def test_a_patch_that_leaves_no_valid_job_changes_nothing(
    live: LiveApp, patch: dict[str, Any], pointer: str, fault: str
) -> None:
    path = f"{JOBS}/{new_id()}"
    created = live.call("PUT", path, note_job()).json()["job"]
    with live.writes() as writes:
        check_fault(live.call("PATCH", path, patch), pointer, fault)
    assert writes == []
    assert check_success(live.call("GET", path))["job"] == created


def test_something_beside_the_wrapped_job_is_refused(live: LiveApp) -> None:
    reply = live.call("POST", JOBS, {"job": note_job(), "scheduled_time": "2090-01-01T00:00:00"})
    check_fault(reply, "/scheduled_time", "unknown_field")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", JOBS, "GET, POST"),
        ("POST", f"{JOBS}/x", "DELETE, GET, PATCH, PUT"),
        ("DELETE", "/api/HEALTH/live", "GET"),
    ],
)
def test_a_wrong_method_is_405_with_the_right_ones(
    live: LiveApp, method: str, path: str, allowed: str
) -> None:
    reply = live.call(method, path, key=None)
    check_problem(reply, 405, "method_not_allowed")
    assert reply.headers["Allow"] == allowed
