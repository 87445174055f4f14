"""The `sql` step type: runs a query on any database that has an ODBC driver."""

import asyncio
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

from steps.contract import StepContext, StepResult, StepType
from steps.sql.config import SqlConfig
from steps.sql.threads import Call

if TYPE_CHECKING:
    from steps.sql.attempt import Attempt
    from steps.sql.database import Databases

MAX_ATTEMPTS = 16
CLOSING_SECONDS = 10.0


class SqlStep(StepType):
    """Runs SQL in threads of its own; at most `max_attempts` at once in this process."""

    type = "sql"
    title = "SQL query"
    description = "Runs SQL on a named connection, in one transaction, and returns its rows."
    capabilities: ClassVar[frozenset[str]] = frozenset({"cancel", "transaction"})
    Config = SqlConfig

    def __init__(self, max_attempts: int = MAX_ATTEMPTS) -> None:
        self._places = asyncio.Semaphore(max_attempts)
        self._lock = Lock()
        self._databases: Databases | None = None

    def unavailable_reason(self) -> str | None:
        """Why no query can run: pyodbc cannot be loaded, or there is no ODBC driver."""
        try:
            import pyodbc
        except ImportError as error:
            return f"pyodbc cannot be loaded ({error}): install unixODBC and the package pyodbc"
        if not pyodbc.drivers():
            return "no ODBC driver is installed: install the driver of your database"
        return None

    async def run(self, config: SqlConfig, context: StepContext) -> StepResult:
        """Executes, asks once more whether the attempt still counts, and commits.

        When it is cancelled while COMMIT is under way and that succeeds, the result is returned:
        what is in the database is then told as it is.

        Raises:
            StepFailed: `sql_error` and the other `sql_…` codes.
            LeaseLost: after everything was rolled back.
            asyncio.CancelledError: after the statement was stopped and rolled back.
            NotStopped: when cancelled, and the database does not answer: its connection is thrown
                away, and the thread that is stuck in it left behind.
        """
        connection_string = context.connection(config.connection_name)
        async with self._places:
            if not config.transaction:
                await context.confirm()
            opening = Call("open", partial(self._open, config, connection_string))
            attempt = await opening.result(grace_seconds=context.grace_seconds)
            try:
                return await self._finish(attempt, config, context)
            finally:
                if attempt.is_open:
                    await _close(attempt, context)

    async def close(self) -> None:
        """Closes the idle connections."""
        if self._databases is not None:
            await Call("close", self._databases.close).result(grace_seconds=CLOSING_SECONDS)

    def _open(self, config: SqlConfig, connection_string: str) -> "Attempt":
        # Loading the client libraries takes a while: neither start-up nor the loop pays for it.
        from steps.sql.attempt import Attempt
        from steps.sql.database import Databases

        with self._lock:
            self._databases = self._databases or Databases()
        return Attempt(self._databases.get(config.connection_name, connection_string), config)

    async def _finish(
        self, attempt: "Attempt", config: SqlConfig, context: StepContext
    ) -> StepResult:
        result = await _execute(attempt, context)
        if config.transaction:
            await context.confirm()
        await _commit(attempt, context)
        return result


async def _execute(attempt: "Attempt", context: StepContext) -> StepResult:
    call = Call("execute", attempt.execute, when_abandoned=attempt.close)
    try:
        return await call.result(attempt.interrupt, grace_seconds=context.grace_seconds)
    except asyncio.CancelledError:
        if not call.abandoned:
            raise
        attempt.leave_pool()
        raise attempt.given_up(context.grace_seconds) from None


async def _commit(attempt: "Attempt", context: StepContext) -> None:
    """A COMMIT that has begun cannot be taken back: its end is told as it is."""
    call = Call("commit", attempt.commit, when_abandoned=attempt.close)
    try:
        await call.result(grace_seconds=context.grace_seconds)
    except asyncio.CancelledError:
        if call.abandoned:
            attempt.leave_pool()
        if not attempt.committed:
            raise call.failure or attempt.commit_given_up(context.grace_seconds) from None
        context.logger.info(
            "the step was cancelled when it had committed; it counts as done",
            extra={"action": "commit_before_cancel"},
        )


async def _close(attempt: "Attempt", context: StepContext) -> None:
    # A server that does not answer may hold up a rollback; it then undoes by itself.
    with suppress(TimeoutError):
        async with asyncio.timeout(context.grace_seconds):
            await Call("close", attempt.close).result(grace_seconds=0)
