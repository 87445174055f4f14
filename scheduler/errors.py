"""The error tree: each class has a stable code, told in `docs/errors.md`.

`scheduler.api.problems` is the one place that maps them to HTTP.

SchedulerError
├── InvalidRequest            the caller's input; `errors` names each field and the remedy
│   ├── MalformedBody         not JSON, not YAML, not UTF-8, not an object
│   ├── BodyTooLarge
│   ├── UnsupportedMediaType  a body that is neither JSON nor YAML, or not in UTF-8
│   ├── InvalidIdempotencyKey the header Idempotency-Key is not 1 to 200 visible ASCII characters
│   └── ScheduleError         an expression, instant or time zone that names no runs
├── NotAuthenticated          no key, or one that is unknown, revoked or expired
├── Forbidden                 the key's role or step types do not reach
├── NotFound                  no such job, execution, key, route
├── MethodNotAllowed
├── Conflict                  the request contradicts what is stored
├── IdempotencyKeyReused      an Idempotency-Key came with another call than before
├── RangeNotSatisfiable       a Range that lies outside of what there is
├── PreconditionFailed        If-Match names another version, or If-None-Match the stored one
├── StorageUnavailable        Azure Storage refused, timed out or cannot be reached
├── DefinitionLost            a job's definition is gone, or cannot be read
├── ConflictingWrite          a conditional write lost its race (internal: the caller reads again)
├── RowTooLarge               a record that storage would refuse for good
├── IllegalTransition         a state machine was asked for a move that it has not
├── UnreadableMessage         a queue message that this version cannot read
└── Misconfigured             a setting is missing or wrong; names the setting
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self


class SchedulerError(Exception):
    """Base of every error that this project raises on purpose."""

    code: str = "internal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


@dataclass(frozen=True, slots=True)
class FieldError:
    """One fault in the caller's input: a JSON pointer, a stable code, and what to do about it."""

    pointer: str
    code: str
    message: str


class InvalidRequest(SchedulerError):
    """The caller's input cannot be accepted; nothing was written."""

    code = "invalid_request"

    def __init__(self, errors: list[FieldError], *, message: str | None = None) -> None:
        super().__init__(message or _summary(errors))
        self.errors = errors

    @classmethod
    def of(cls, pointer: str, code: str, message: str) -> Self:
        """One fault in one field."""
        return cls([FieldError(pointer, code, message)])

    def under(self, prefix: str) -> "InvalidRequest":
        """The same faults, in a value that stands at the JSON pointer `prefix`."""
        return InvalidRequest(
            [FieldError(prefix + e.pointer, e.code, e.message) for e in self.errors]
        )


def _summary(errors: list[FieldError]) -> str:
    if not errors:
        return "invalid request"
    pointer, message = errors[0].pointer, errors[0].message
    first = f"{pointer}: {message}" if pointer else message
    return first if len(errors) <= 1 else f"{first} (and {len(errors) - 1} more)"


class MalformedBody(InvalidRequest):
    """The body is not what its content type says."""

    code = "malformed_body"


class BodyTooLarge(InvalidRequest):
    """The body is over the limit."""

    code = "body_too_large"


class UnsupportedMediaType(InvalidRequest):
    """The body's content type or charset is not one that this API reads."""

    code = "unsupported_media_type"


class InvalidIdempotencyKey(InvalidRequest):
    """The header `Idempotency-Key` is empty, too long, or not in visible ASCII."""

    code = "invalid_idempotency_key"


class ScheduleError(InvalidRequest, ValueError):
    """A schedule's field names no runs: `field`, its fault's `fault` code, and what to write.

    The codes are `invalid_cron`, `invalid_interval`, `invalid_once`, `invalid_schedule` (its other
    fields) and `unknown_timezone`. It is a `ValueError` too, as befits a pure function's input.
    """

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__([FieldError(f"/{field}", code, message)], message=message)
        self.field = field
        self.fault = code


class NotAuthenticated(SchedulerError):
    """No valid credential came with the request."""

    code = "not_authenticated"


class Forbidden(SchedulerError):
    """The caller is known, and may not do this."""

    code = "forbidden"


class NotFound(SchedulerError):
    """What the path names does not exist."""

    code = "not_found"


class MethodNotAllowed(SchedulerError):
    """The path exists, the method does not; `allowed` are those that do."""

    code = "method_not_allowed"

    def __init__(self, message: str, *, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = tuple(allowed)


class Conflict(SchedulerError):
    """The request contradicts what is stored."""

    code = "conflict"


class IdempotencyKeyReused(SchedulerError):
    """An `Idempotency-Key` came with another path or body than before."""

    code = "idempotency_key_reused"


class RangeNotSatisfiable(SchedulerError):
    """A Range asks for bytes that are not there; `size` is how many there are."""

    code = "range_not_satisfiable"

    def __init__(self, message: str, *, size: int) -> None:
        super().__init__(message)
        self.size = size


class PreconditionFailed(SchedulerError):
    """`If-Match` names another version than the stored one, or `If-None-Match` that one."""

    code = "precondition_failed"


class StorageUnavailable(SchedulerError):
    """Azure Storage refused, timed out or cannot be reached; trying again later is right."""

    code = "storage_unavailable"
    retry_after_seconds: ClassVar[int] = 5


class ConflictingWrite(SchedulerError):
    """A conditional write lost its race; `index` is the refused change's place in it."""

    code = "conflicting_write"

    def __init__(self, message: str, *, index: int, exists: bool) -> None:
        super().__init__(message)
        self.index = index
        self.exists = exists


class RowTooLarge(SchedulerError):
    """A row over the limits of Table Storage."""

    code = "row_too_large"


class DefinitionLost(SchedulerError):
    """The blob of a job's definition is gone, or cannot be read; trying again does not help."""

    code = "definition_lost"


class IllegalTransition(SchedulerError):
    """A state machine has no such move; the message names the state and the event."""

    code = "illegal_transition"


class UnreadableMessage(SchedulerError):
    """A queue message that is not ours, or of an unknown version."""

    code = "unreadable_message"


class Misconfigured(SchedulerError):
    """A setting is missing or wrong; the message names it and the remedy."""

    code = "misconfigured"
