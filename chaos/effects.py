"""The database in which steps leave their effects: what really happened."""

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pyodbc

pyodbc.pooling = False

POSTGRES_SETTINGS = (
    "max_connections=300",
    "track_commit_timestamp=on",
    "client_connection_check_interval=500",
)
LEAVE_LOOK = "SELECT leave_look(?, ?, CAST(? AS int), ?, ?, ?, CAST(? AS float8))"
"""Execution, step, attempt, kind, token, the tokens that it knew of, seconds."""
_SCHEMA = """
CREATE TABLE effect (
    execution text NOT NULL,
    step text NOT NULL,
    attempt int NOT NULL,
    host text NOT NULL DEFAULT current_setting('application_name'),
    begun timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION leave_effect(
    execution text, step text, attempt int, seconds float8, fails int
) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO effect (execution, step, attempt) VALUES (execution, step, attempt);
    PERFORM pg_sleep(seconds);
    IF attempt <= fails THEN
        RAISE EXCEPTION 'attempt % is one that fails', attempt USING ERRCODE = '55000';
    END IF;
    RETURN attempt;
END $$;
CREATE TABLE look (
    execution text NOT NULL,
    step text NOT NULL,
    attempt int NOT NULL,
    kind text NOT NULL,
    token text NOT NULL,
    seen text NOT NULL,
    host text NOT NULL DEFAULT current_setting('application_name'),
    begun timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE FUNCTION leave_look(
    execution text, step text, attempt int, kind text, token text, seen text, seconds float8
) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO look (execution, step, attempt, kind, token, seen)
    VALUES (execution, step, attempt, kind, token, seen);
    PERFORM pg_sleep(seconds);
    RETURN attempt;
END $$
"""
_AT = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')"""
_COMMITTED = _AT.format("pg_xact_commit_timestamp(xmin)")
_READ = f"SELECT execution, step, attempt, host, {_COMMITTED} FROM effect"
_READ_LOOKS = f"""
SELECT execution, step, attempt, kind, token, seen, host, {_AT.format("begun")}, {_COMMITTED}
FROM look
"""


class LookKind(StrEnum):
    """What a step that waits did: it looked and waits on, looked and succeeded, was to stop."""

    LOOK = "look"
    LAST = "last"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that a step's transaction left: by which attempt, on which host, committed when."""

    execution_id: str
    step_id: str
    attempt: int
    host: str
    committed: datetime


@dataclass(frozen=True, slots=True)
class Look:
    """A row that one look of a step that waits left; `seen`: the tokens of the looks it knew of."""

    execution_id: str
    step_id: str
    attempt: int
    kind: LookKind
    token: str
    seen: tuple[str, ...]
    host: str
    begun: datetime
    committed: datetime

    @property
    def attempt_key(self) -> tuple[str, str, int]:
        """Execution id, step id, number of the attempt."""
        return self.execution_id, self.step_id, self.attempt


class Effects:
    """The tables of effects and looks of one database."""

    def __init__(self, connection_string: str) -> None:
        """Makes the tables; steps write by the SQL functions `leave_effect` and `leave_look`."""
        self.connection_string = connection_string
        with self._connected() as connection:
            connection.execute(_SCHEMA)
        connection.close()

    def read(self) -> list[Effect]:
        """All effects that have been committed."""
        return [
            Effect(execution_id, step, attempt, host, _instant(committed))
            for execution_id, step, attempt, host, committed in self._rows(_READ)
        ]

    def read_looks(self) -> list[Look]:
        """All looks that have been committed."""
        return [_look(*row) for row in self._rows(_READ_LOOKS)]

    def _rows(self, query: str) -> list[Any]:
        with self._connected() as connection:
            rows: list[Any] = connection.execute(query).fetchall()
        connection.close()
        return rows

    def _connected(self) -> pyodbc.Connection:
        return pyodbc.connect(self.connection_string, autocommit=True, timeout=15)


def _look(
    execution_id: str,
    step: str,
    attempt: int,
    kind: str,
    token: str,
    seen: str,
    host: str,
    begun: str,
    committed: str,
) -> Look:
    return Look(
        execution_id=execution_id,
        step_id=step,
        attempt=attempt,
        kind=LookKind(kind),
        token=token,
        seen=tuple(seen.split()),
        host=host,
        begun=_instant(begun),
        committed=_instant(committed),
    )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)
