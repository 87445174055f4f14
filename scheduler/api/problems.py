"""Errors → HTTP: the one table from the error tree to a status and a problem+json body."""

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from scheduler.errors import (
    BodyTooLarge,
    Conflict,
    ConflictingWrite,
    DefinitionLost,
    Forbidden,
    IdempotencyKeyReused,
    IllegalTransition,
    InvalidRequest,
    MethodNotAllowed,
    Misconfigured,
    NotAuthenticated,
    NotFound,
    PreconditionFailed,
    RangeNotSatisfiable,
    RowTooLarge,
    ScheduleError,
    SchedulerError,
    StorageUnavailable,
    UnsupportedMediaType,
)
from scheduler.telemetry import get_logger

CONTENT_TYPE = "application/problem+json"
CHALLENGE = 'Bearer realm="job-scheduler"'
MAX_FAULTS = 100
"""More faults than these are counted in the detail, not listed."""
STORAGE_AWAY = "Azure Storage cannot be reached, or is busy: try again in some seconds"
UNKNOWN = "an unexpected error; the log has it under this trace id"

STATUS: dict[type[BaseException], int] = {
    InvalidRequest: 400,
    BodyTooLarge: 413,
    UnsupportedMediaType: 415,
    NotAuthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    Conflict: 409,
    ConflictingWrite: 409,
    IllegalTransition: 409,
    PreconditionFailed: 412,
    RangeNotSatisfiable: 416,
    RowTooLarge: 413,
    IdempotencyKeyReused: 422,
    DefinitionLost: 500,
    StorageUnavailable: 503,
    Misconfigured: 503,
    SchedulerError: 500,
}
"""Each error class's status; a class that is not here has its nearest ancestor's."""

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error as HTTP shows it: status, problem+json body, extra headers."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str] = field(default_factory=dict)


def problem(error: Exception, *, trace_id: str) -> Problem:
    """Renders any exception; one that is not of the error tree shows no details and is logged."""
    if isinstance(error, ScheduleError):
        # Its own message leaves out the field, which a reply names like that of any other fault.
        error = error.under("")
    status = status_of(error)
    if isinstance(error, StorageUnavailable):
        # Its own message names rows and tables, which are the log's business.
        code, detail = error.code, STORAGE_AWAY
        log.warning(
            "the request failed: %s",
            error.message,
            extra={"action": "fail_request", "error_code": code, "trace_id": trace_id},
        )
    elif isinstance(error, Misconfigured):
        code, detail = error.code, error.message
        log.error(
            "the request failed: %s",
            error.message,
            extra={"action": "fail_request", "error_code": code, "trace_id": trace_id},
        )
    elif isinstance(error, SchedulerError):
        code, detail = error.code, error.message
    else:
        code, detail = SchedulerError.code, UNKNOWN
    if status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error(
            "the request failed with %s",
            code,
            exc_info=error,
            extra={"action": "fail_request", "error_code": code, "trace_id": trace_id},
        )
    return Problem(status, _body(error, status, code, detail, trace_id), _headers(error, code))


def status_of(error: BaseException) -> int:
    """The HTTP status of an exception, by the nearest class of its MRO in `STATUS`; else 500."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)


def _body(error: Exception, status: int, code: str, detail: str, trace_id: str) -> dict[str, Any]:
    faults = error.errors[:MAX_FAULTS] if isinstance(error, InvalidRequest) else []
    return {
        "type": f"urn:job-scheduler:error:{code}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "trace_id": trace_id,
        "errors": [
            {"pointer": fault.pointer, "code": fault.code, "message": fault.message}
            for fault in faults
        ],
        "success": False,
        "error": detail,
    }


def _headers(error: Exception, code: str) -> dict[str, str]:
    headers = {"x-ms-error-code": code}
    if isinstance(error, StorageUnavailable):
        headers["Retry-After"] = str(error.retry_after_seconds)
    if isinstance(error, MethodNotAllowed):
        headers["Allow"] = ", ".join(error.allowed)
    if isinstance(error, RangeNotSatisfiable):
        headers["Content-Range"] = f"bytes */{error.size}"
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = CHALLENGE
    return headers
