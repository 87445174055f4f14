"""The database in which steps leave their effects: what really happened."""

from dataclasses import dataclass
from datetime import UTC, datetime

import pyodbc

pyodbc.pooling = False

POSTGRES_SETTINGS = (
    "max_connections=300",
    "track_commit_timestamp=on",
    "client_connection_check_interval=500",
)
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
END $$
"""
_READ = """
SELECT execution, step, attempt, host,
       to_char(pg_xact_commit_timestamp(xmin) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US')
FROM effect
"""


@dataclass(frozen=True, slots=True)
class Effect:
    """A row that a step's transaction left: by which attempt, on which host, committed when."""

    execution_id: str
    step_id: str
    attempt: int
    host: str
    committed: datetime


class Effects:
    """The table of effects of one database."""

    def __init__(self, connection_string: str) -> None:
        """Makes the table; steps write to it by the SQL function `leave_effect`."""
        self.connection_string = connection_string
        with self._connected() as connection:
            connection.execute(_SCHEMA)
        connection.close()

    def read(self) -> list[Effect]:
        """All effects that have been committed."""
        with self._connected() as connection:
            rows = connection.execute(_READ).fetchall()
        connection.close()
        return [
            Effect(
                row[0], row[1], row[2], row[3], datetime.fromisoformat(row[4]).replace(tzinfo=UTC)
            )
            for row in rows
        ]

    def _connected(self) -> pyodbc.Connection:
        return pyodbc.connect(self.connection_string, autocommit=True, timeout=15)
