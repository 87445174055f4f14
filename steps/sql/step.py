"""The `sql` step type: runs a query on any database that has an ODBC driver."""

import asyncio
from collections.abc import Callable
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
CANCEL_GRACE_SECONDS = 10.0


class SqlStep(StepType):
    """Runs SQL in threads of its own; at most `max_attempts` at once in this process."""

    type = "sql"
    title = "SQL query"
    description = "Runs SQL on a named connection, in one transaction, and returns its rows."
    capabilities: ClassVar[frozenset[str]] = frozenset({"cancel", "transaction"})
    Config = SqlConfig

    def __init__(
        self, max_attempts: int = MAX_ATTEMPTS, cancel_grace_seconds: float = CANCEL_GRACE_SECONDS
    ) -> None:
        self._grace_seconds = cancel_grace_seconds
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
        """
        connection_string = context.connection(config.connection_name)
        async with self._places:
            if not config.transaction:
                await context.confirm()
            opening = Call(partial(self._open, config, connection_string))
            attempt = await opening.result(grace_seconds=self._grace_seconds)
            try:
                return await self._finish(attempt, config, context)
            finally:
                if attempt.is_open:
                    await self._close(attempt)

    async def close(self) -> None:
        """Closes the idle connections."""
        if self._databases is not None:
            await Call(self._databases.close).result(grace_seconds=self._grace_seconds)

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
        result = await self._call(attempt, attempt.execute, attempt.interrupt)
        if config.transaction:
            await context.confirm()
        try:
            await self._call(attempt, attempt.commit)
        except asyncio.CancelledError:
            if not attempt.committed:
                raise
            context.logger.info(
                "the step was cancelled when it had committed; it counts as done",
                extra={"action": "commit_before_cancel"},
            )
        return result

    async def _call[T](
        self,
        attempt: "Attempt",
        work: Callable[[], T],
        interrupt: Callable[[], object] | None = None,
        grace_seconds: float | None = None,
    ) -> T:
        call = Call(work, when_abandoned=attempt.close)
        grace = self._grace_seconds if grace_seconds is None else grace_seconds
        try:
            return await call.result(interrupt, grace_seconds=grace)
        finally:
            if call.abandoned:
                attempt.leave_pool()

    async def _close(self, attempt: "Attempt") -> None:
        # A server that does not answer may hold up a rollback; it then undoes by itself.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._grace_seconds):
                await self._call(attempt, attempt.close, grace_seconds=0)
