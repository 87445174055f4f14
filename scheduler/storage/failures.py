"""Turns the Azure SDK's exceptions into the project's own."""

from collections.abc import Iterator
from contextlib import contextmanager

from azure.core.exceptions import AzureError, HttpResponseError

from scheduler.errors import ConflictingWrite, RowTooLarge, StorageUnavailable

_TOO_LARGE = frozenset(
    {"EntityTooLarge", "PropertyValueTooLarge", "RequestBodyTooLarge", "ContentLengthExceeded"}
)


@contextmanager
def storage_failures(what: str) -> Iterator[None]:
    """Wraps one call to storage; `what` names it in the error's message.

    Raises:
        ConflictingWrite: 404, 409, 412 or a stale receipt: a condition of the write does not hold.
        RowTooLarge: storage refuses the record for good.
        StorageUnavailable: everything else, transport faults included.
    """
    try:
        yield
    except HttpResponseError as error:
        raise _translated(error, what) from error
    except (AzureError, TimeoutError, OSError) as error:
        raise StorageUnavailable(f"storage cannot be reached: {what}") from error


def _translated(error: HttpResponseError, what: str) -> Exception:
    code = error_code(error)
    if code in _TOO_LARGE or error.status_code == 413:
        return RowTooLarge(f"too large for storage: {what}")
    if error.status_code in (404, 409, 412) or code == "PopReceiptMismatch":
        index = int(getattr(error, "index", 0) or 0)
        exists = error.status_code == 409
        return ConflictingWrite(f"lost a race: {what}", index=index, exists=exists)
    return StorageUnavailable(f"storage answered {error.status_code} {code}: {what}".rstrip())


def error_code(error: HttpResponseError) -> str:
    """The service's own code of an error, such as `TableNotFound`, or an empty text."""
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")
