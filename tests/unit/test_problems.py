import inspect
import logging
from itertools import pairwise

import pytest

from scheduler import errors
from scheduler.api.problems import STATUS, problem, status_of
from scheduler.errors import (
    BodyTooLarge,
    Conflict,
    FieldError,
    InvalidRequest,
    MalformedBody,
    Misconfigured,
    NotAuthenticated,
    ScheduleError,
    SchedulerError,
    StorageUnavailable,
)

EVERY_CLASS = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, SchedulerError)
]


def test_a_problem_tells_what_where_and_which_trace() -> None:
    fault = FieldError("/steps/0/query", "missing", "is required")
    shown = problem(InvalidRequest([fault]), trace_id="t1")
    assert shown.status == 400
    assert shown.headers == {"x-ms-error-code": "invalid_request"}
    assert shown.body == {
        "type": "urn:job-scheduler:error:invalid_request",
        "title": "Bad Request",
        "status": 400,
        "detail": "/steps/0/query: is required",
        "code": "invalid_request",
        "trace_id": "t1",
        "errors": [{"pointer": "/steps/0/query", "code": "missing", "message": "is required"}],
        "success": False,
        "error": "/steps/0/query: is required",
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MalformedBody.of("", "x", "y"), 400),
        (BodyTooLarge.of("", "x", "y"), 413),
        (ScheduleError("expression", "invalid_cron", "y"), 400),
        (Conflict("there", code="job_exists"), 409),
        (KeyError("x"), 500),
    ],
)
def test_the_status_follows_the_nearest_class(error: Exception, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("kind", EVERY_CLASS)
def test_every_error_class_has_a_status_of_its_own_or_of_an_ancestor(
    kind: type[SchedulerError],
) -> None:
    nearest = next(ancestor for ancestor in kind.__mro__ if ancestor in STATUS)
    assert nearest is not SchedulerError or kind.code in {
        "internal_error",
        "unreadable_message",
    }


def test_a_schedules_fault_is_told_like_that_of_any_field() -> None:
    shown = problem(ScheduleError("expression", "invalid_cron", "write x"), trace_id="t").body
    assert (shown["code"], shown["detail"]) == ("invalid_request", "/expression: write x")
    assert [error["code"] for error in shown["errors"]] == ["invalid_cron"]


def test_an_own_code_is_shown_in_body_and_header() -> None:
    shown = problem(Conflict("it is there", code="job_exists"), trace_id="t")
    assert shown.body["code"] == shown.headers["x-ms-error-code"] == "job_exists"


def test_storage_trouble_says_when_to_try_again() -> None:
    shown = problem(StorageUnavailable("storage cannot be reached"), trace_id="t")
    assert (shown.status, shown.headers["Retry-After"]) == (503, "5")


def test_a_missing_key_is_answered_with_a_challenge() -> None:
    shown = problem(NotAuthenticated("no key"), trace_id="t")
    assert shown.status == 401
    assert shown.headers["WWW-Authenticate"].startswith("Bearer")


def test_an_unknown_exception_shows_nothing_and_is_logged_with_its_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        shown = problem(RuntimeError("password is hunter2"), trace_id="t9")
    assert shown.status == 500
    assert shown.body["code"] == "internal_error"
    assert "hunter2" not in str(shown)
    (record,) = caplog.records
    assert record.exc_info is not None and "hunter2" in str(record.exc_info[1])
    assert vars(record)["trace_id"] == "t9"


def test_a_wrong_setting_is_named() -> None:
    shown = problem(Misconfigured("the app setting X is missing"), trace_id="t")
    assert (shown.status, shown.body["detail"]) == (503, "the app setting X is missing")


def test_a_flood_of_faults_is_cut_and_counted() -> None:
    faults = [FieldError(f"/{number:04}", "missing", "is required") for number in range(500)]
    body = problem(InvalidRequest(faults), trace_id="t").body
    assert len(body["errors"]) == 100
    assert body["detail"].endswith("(and 499 more)")
    assert all(one["pointer"] < two["pointer"] for one, two in pairwise(body["errors"]))
