"""From what an ODBC driver says to a `StepFailed` that its reader can act on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyodbc

from steps.contract import NotStopped, StepFailed
from steps.sql.redaction import Redaction

_BRACKETS = re.compile(r"^(?:\[[^\]]*\]\s*)+")
_CALL = re.compile(r"(?:\s*\(-?\d+\))*\s*\(SQL\w+\)$")
_PSQLODBC_TAIL = re.compile(r";?\s*Error while executing the query$")
_MOST_CHARACTERS = 2000

_OPEN = (
    "whether the transaction took effect is not known: look at the data before running the step "
    "again"
)

_FINAL_CLASSES = {"22", "23", "28", "42"}
_LOST_CLASSES = {"08"}
_LOST_STATES = {"HYT01", "57P01", "57P02", "57P03"}
_NO_DRIVER_STATES = {"IM002", "IM003", "IM004"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a step a driver's error came up; `of` is 1 when the driver took all at once."""

    connection: str
    redact: Redaction
    statement: int = 1
    of: int = 1


def sqlstate(error: pyodbc.Error) -> str:
    """The five characters of the error's SQLSTATE, `HY000` when it has none."""
    state = error.args[0] if error.args else None
    return state if isinstance(state, str) and len(state) == 5 else "HY000"


def sentence(error: Exception, redact: Redaction) -> str:
    """What the driver says, without its brackets, call names and secrets."""
    text = str(error.args[1] if len(error.args) > 1 else error).replace("\0", "").strip()
    text = _PSQLODBC_TAIL.sub("", _CALL.sub("", _BRACKETS.sub("", text)))
    return " ".join(redact(text).split())[:_MOST_CHARACTERS]


def connecting_failed(error: pyodbc.Error, place: Place, drivers: Sequence[str]) -> StepFailed:
    """`sql_driver_not_found` or `sql_connection_failed`; refused credentials are not retried."""
    state, said = sqlstate(error), sentence(error, place.redact)
    if state in _NO_DRIVER_STATES or "can't open lib" in said.lower():
        installed = ", ".join(drivers) or "none"
        return StepFailed(
            "sql_driver_not_found",
            f"the ODBC driver of the connection {place.connection!r} is not installed "
            f"(SQLSTATE {state}: {said}); installed drivers: {installed}",
            retryable=False,
            metadata={"sqlstate": state},
        )
    return StepFailed(
        "sql_connection_failed",
        f"the connection {place.connection!r} cannot be opened (SQLSTATE {state}): {said}",
        retryable=state[:2] != "28",
        metadata={"sqlstate": state},
    )


def executing_failed(error: pyodbc.Error, place: Place) -> StepFailed:
    """`sql_error`, or a more telling code when the SQLSTATE has one."""
    state, said = sqlstate(error), sentence(error, place.redact)
    where = f" in statement {place.statement} of {place.of}" if place.of > 1 else ""
    metadata = {"sqlstate": state, "statement": place.statement}
    if state[:2] == "07" or "parameter markers" in said:
        return StepFailed(
            "sql_parameters_mismatch",
            f"query and parameters do not fit{where} (SQLSTATE {state}): {said}",
            retryable=False,
            metadata=metadata,
        )
    if state[:2] in _LOST_CLASSES or state in _LOST_STATES:
        return StepFailed(
            "sql_connection_failed",
            f"the connection {place.connection!r} broke{where} (SQLSTATE {state}): {said}",
            metadata=metadata,
        )
    return StepFailed(
        "sql_error",
        f"the database refused it{where} (SQLSTATE {state}): {said}",
        retryable=state[:2] not in _FINAL_CLASSES,
        metadata=metadata,
    )


def committing_failed(error: pyodbc.Error, place: Place) -> StepFailed:
    """As `executing_failed`, but a connection lost in COMMIT leaves the outcome open."""
    failed = executing_failed(error, place)
    if failed.code != "sql_connection_failed":
        return failed
    return StepFailed(
        "sql_commit_unknown",
        f"{failed.message}; that was during COMMIT, so {_OPEN}",
        retryable=False,
        metadata=failed.metadata,
    )


def commit_unanswered(place: Place, grace_seconds: float) -> StepFailed:
    """The step was told to stop during COMMIT, and the database did not answer any more."""
    return StepFailed(
        "sql_commit_unknown",
        f"the step was told to stop during COMMIT, and the connection {place.connection!r} did not "
        f"answer within {grace_seconds:g} s, so {_OPEN}",
        retryable=False,
    )


def not_stopped(place: Place, grace_seconds: float, sent: bool, transaction: bool) -> NotStopped:
    """The database did not stop in time; `sent`: it had been sent a statement of the step."""
    connection = f"the connection {place.connection!r}"
    if not sent:
        return NotStopped(f"{connection} was still being opened, and nothing had been sent on it")
    where = f" in statement {place.statement} of {place.of}" if place.of > 1 else ""
    commit = ", but COMMIT was not sent" if transaction else ""
    return NotStopped(
        f"{connection} did not answer within {grace_seconds:g} s{where}, so what the step did "
        f"there is unknown{commit}"
    )


def value_failed(error: Exception, place: Place) -> StepFailed:
    """A value that Python and the driver cannot hand to each other."""
    return StepFailed(
        "sql_value_unsupported",
        f"a value in statement {place.statement} cannot be sent or read "
        f"({sentence(error, place.redact)}): cast it to text in the query",
        retryable=False,
        metadata={"statement": place.statement},
    )
