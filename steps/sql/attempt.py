"""One attempt of a `sql` step: what its threads do with the connection."""

import time
from contextlib import suppress
from dataclasses import replace
from threading import Lock

import pyodbc

from steps.contract import NotStopped, StepFailed, StepResult
from steps.sql.config import SqlConfig
from steps.sql.database import Database, Session
from steps.sql.failures import (
    Place,
    commit_unanswered,
    committing_failed,
    executing_failed,
    not_stopped,
    sentence,
    value_failed,
)
from steps.sql.results import Results, result_set
from steps.sql.statements import ParametersMismatch, Statement, prepare

_ISOLATION_LEVELS = {
    "read_uncommitted": pyodbc.SQL_TXN_READ_UNCOMMITTED,
    "read_committed": pyodbc.SQL_TXN_READ_COMMITTED,
    "repeatable_read": pyodbc.SQL_TXN_REPEATABLE_READ,
    "serializable": pyodbc.SQL_TXN_SERIALIZABLE,
}


class Stopped(Exception):
    """The attempt was told to stop; nothing more is sent to the database."""


class Attempt:
    """Runs a query and keeps its connection until `commit` or `close`.

    `execute`, `commit` and `close` block and are called one after the other, `interrupt` at any
    time from any thread.
    """

    def __init__(self, database: Database, config: SqlConfig) -> None:
        self._database = database
        self._config = config
        self._session_lock = Lock()
        self._cursor_lock = Lock()
        self._stopped = False
        self._abandoned = False
        self._sent = False
        self._session: Session | None = None
        self._cursor: pyodbc.Cursor | None = None
        self._place = Place(database.name, database.redact)
        self.committed = False

    def execute(self) -> StepResult:
        """Connects and runs all statements; without `transaction` they take effect at once.

        Raises:
            StepFailed: with the driver's reason.
            Stopped: `interrupt` was called between two statements.
        """
        session = self._database.session()
        with self._session_lock:
            self._session = session
        self._configure(session)
        started = time.perf_counter()
        results = Results()
        statements = self._statements(session)
        cursor = session.connection.cursor()
        try:
            self._cursor = cursor
            for number, statement in enumerate(statements, 1):
                self._place = replace(self._place, statement=number, of=len(statements))
                self._run(cursor, statement, results)
        finally:
            # A cursor must not be cancelled while it is closed.
            with self._cursor_lock:
                self._cursor = None
        cursor.close()
        return _result(results, session, time.perf_counter() - started)

    def commit(self) -> None:
        """Makes the transaction take effect, and gives the connection back.

        Raises:
            StepFailed: it was refused; or `sql_commit_unknown`.
            Stopped: `interrupt` came first.
        """
        session = self._open_session()
        if self._config.transaction:
            try:
                session.connection.commit()
            except pyodbc.Error as error:
                raise committing_failed(error, self._place) from None
        self.committed = True
        with self._session_lock:
            self._session = None
        # The driver keeps an isolation level in mind that wiping the session resets in the server.
        if self._config.isolation_level:
            session.throw_away()
        else:
            session.give_back()

    def close(self) -> None:
        """Rolls back and closes what is still open; does nothing after `commit`."""
        with self._session_lock:
            session, self._session = self._session, None
        if session is not None:
            session.throw_away()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection to close; not when a stuck thread is going to."""
        return self._session is not None and not self._abandoned

    def interrupt(self) -> None:
        """Stops the running statement on the server, and sends none of those after it."""
        self._stopped = True
        # A refusal means that it has just ended or the server is gone: then waiting decides.
        with self._cursor_lock, suppress(pyodbc.Error):
            if self._cursor is not None:
                self._cursor.cancel()

    def given_up(self, grace_seconds: float) -> NotStopped:
        """What is known of the statements when the database has not stopped them in time."""
        return not_stopped(self._place, grace_seconds, self._sent, self._config.transaction)

    def commit_given_up(self, grace_seconds: float) -> StepFailed:
        """`sql_commit_unknown`: the database has not answered to COMMIT in time."""
        return commit_unanswered(self._place, grace_seconds)

    def leave_pool(self) -> None:
        """Makes the pool forget the connection while its thread is still stuck."""
        with self._session_lock:
            self._abandoned = True
            if self._session is not None:
                self._session.leave_pool()

    def _open_session(self) -> Session:
        if self._stopped:
            raise Stopped
        assert self._session is not None, "execute comes first"
        return self._session

    def _configure(self, session: Session) -> None:
        try:
            session.connection.autocommit = not self._config.transaction
        except pyodbc.Error as error:
            raise executing_failed(error, self._place) from None
        level = self._config.isolation_level
        if level is None:
            return
        try:
            session.connection.set_attr(pyodbc.SQL_ATTR_TXN_ISOLATION, _ISOLATION_LEVELS[level])
        except pyodbc.Error as error:
            raise StepFailed(
                "sql_isolation_unsupported",
                f"{session.product} refuses the isolation level {level}: "
                f"{sentence(error, self._place.redact)}",
                retryable=False,
            ) from None

    def _statements(self, session: Session) -> list[Statement]:
        config = self._config
        try:
            return prepare(config.query, config.parameters, one_by_one=session.one_statement_a_call)
        except ParametersMismatch as error:
            raise StepFailed("sql_parameters_mismatch", str(error), retryable=False) from None

    def _run(self, cursor: pyodbc.Cursor, statement: Statement, results: Results) -> None:
        if self._stopped:
            raise Stopped
        self._sent = True
        try:
            cursor.execute(statement.text, *statement.values)
            while True:
                self._collect(cursor, results)
                if self._stopped:
                    raise Stopped
                if not cursor.nextset():
                    return
        except pyodbc.Error as error:
            raise executing_failed(error, self._place) from None
        except (ValueError, OverflowError, TypeError) as error:
            raise value_failed(error, self._place) from None

    def _collect(self, cursor: pyodbc.Cursor, results: Results) -> None:
        results.add_notices([self._database.redact(text) for _, text in cursor.messages or ()])
        if cursor.description is None:
            results.add_count(cursor.rowcount)
        else:
            limit = self._config.max_rows
            rows = cursor.fetchmany(limit + 1)
            results.add_set(result_set(cursor.description, rows, limit))


def _result(results: Results, session: Session, seconds: float) -> StepResult:
    output = results.output()
    metadata = {
        "row_count": output["row_count"],
        "rows_affected": results.rows_affected,
        "result_sets": results.set_count,
        "truncated": output["truncated"],
        "query_ms": round(seconds * 1000),
        "database": session.product,
        "driver": session.driver,
    }
    return StepResult(output=output, metadata=metadata, values=results.values())
