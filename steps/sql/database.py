"""Connections to databases: a pool for each connection name, and clean sessions out of it.

No step may see another's session: its temporary tables, settings, variables. So a connection goes
back to the pool only where the database can wipe it; elsewhere it is closed after use.
"""

import logging
from contextlib import suppress
from threading import Lock
from typing import Any, cast

import pyodbc
from sqlalchemy import event, exc
from sqlalchemy.pool import PoolProxiedConnection, QueuePool

from steps.contract import StepFailed
from steps.sql.failures import Place, connecting_failed, sqlstate
from steps.sql.redaction import Redaction, fields

# The driver manager's own pool would keep sessions alive behind our back.
pyodbc.pooling = False

LOGIN_TIMEOUT_SECONDS = 15
IDLE_CONNECTIONS = 4
OLDEST_CONNECTION_SECONDS = 1800
_POSTGRES_SETTINGS = "SELECT name, setting FROM pg_settings WHERE source = 'session'"

_log = logging.getLogger(__name__)


class Session:
    """A connection for one attempt, with nothing of an earlier one in it."""

    def __init__(self, proxy: PoolProxiedConnection, database: "Database") -> None:
        self._proxy = proxy
        self._database = database
        self.connection = cast(pyodbc.Connection, proxy.dbapi_connection)
        self.product: str = self.connection.getinfo(pyodbc.SQL_DBMS_NAME)
        self.driver: str = self.connection.getinfo(pyodbc.SQL_DRIVER_NAME)

    @property
    def one_statement_a_call(self) -> bool:
        """Whether the driver refuses several statements at once."""
        return self.product == "SQLite"

    def give_back(self) -> None:
        """Returns the connection to the pool if it could be wiped, and closes it otherwise."""
        try:
            wiped = self._database.current and self._wipe()
        except pyodbc.Error as error:
            _log.info("a connection is not kept: SQLSTATE %s", sqlstate(error))
            wiped = False
        if wiped:
            self._proxy.close()
        else:
            self.throw_away()

    def throw_away(self) -> None:
        """Closes the connection, which rolls back what is open in it."""
        self.leave_pool()
        with suppress(pyodbc.Error):
            self.connection.close()

    def leave_pool(self) -> None:
        """Makes the pool forget the connection, while another thread may still be stuck in it."""
        if not self._proxy.is_detached:
            self._proxy.detach()

    def _wipe(self) -> bool:
        settings = self._proxy.info.get("settings")
        if settings is None:
            return False
        self.connection.autocommit = True
        self.connection.execute("DISCARD ALL").close()
        # The driver reads dates by the DateStyle that it has set, so that must come back too.
        restore = ", ".join(["set_config(?, ?, false)"] * (len(settings) // 2))
        if restore:
            self.connection.execute(f"SELECT {restore}", *settings).close()
        return True


class Database:
    """One connection string and its pool; safe to use from several threads."""

    def __init__(self, name: str, connection_string: str) -> None:
        self.name = name
        self.connection_string = connection_string
        self.redact = Redaction(connection_string)
        self.current = True
        self._string = connection_string
        self._pool = QueuePool(
            self._connect,
            pool_size=IDLE_CONNECTIONS,
            max_overflow=-1,
            recycle=OLDEST_CONNECTION_SECONDS,
            reset_on_return=None,
        )
        # Not "connect": of a pool's first connection that event makes all others wait.
        event.listen(self._pool, "checkout", _check)

    def session(self) -> Session:
        """Takes a connection that has just been seen to work.

        Raises:
            StepFailed: `sql_connection_failed`, `sql_driver_not_found`.
        """
        try:
            return Session(self._pool.connect(), self)
        except pyodbc.Error as error:
            place = Place(self.name, self.redact)
            raise connecting_failed(error, place, pyodbc.drivers()) from None
        except exc.SQLAlchemyError:
            raise StepFailed(
                "sql_connection_failed", f"the connection {self.name!r} breaks again and again"
            ) from None

    def close(self) -> None:
        """Closes the idle connections; those in use are closed when they come back."""
        self.current = False
        self._pool.dispose()

    def _connect(self) -> pyodbc.Connection:
        connection = self._open()
        if _wraps_integers(connection, self._string):
            connection.close()
            self._string = f"{self._string.rstrip().rstrip(';')};BigInt=1"
            connection = self._open()
        return connection

    def _open(self) -> pyodbc.Connection:
        return pyodbc.connect(self._string, autocommit=True, timeout=LOGIN_TIMEOUT_SECONDS)


class Databases:
    """The databases that this process has used, by connection name."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._by_name: dict[str, Database] = {}

    def get(self, name: str, connection_string: str) -> Database:
        """The database of a name; one whose connection string has changed is replaced."""
        with self._lock:
            known = self._by_name.get(name)
            if known is not None and known.connection_string == connection_string:
                return known
            fresh = self._by_name[name] = Database(name, connection_string)
        if known is not None:
            known.close()
        return fresh

    def close(self) -> None:
        """Closes every pool."""
        with self._lock:
            databases = list(self._by_name.values())
            self._by_name.clear()
        for database in databases:
            database.close()


def _wraps_integers(connection: pyodbc.Connection, connection_string: str) -> bool:
    """Whether this is SQLite's driver without `BigInt`, which cuts integers to 32 bits unseen."""
    product = connection.getinfo(pyodbc.SQL_DBMS_NAME)
    return product == "SQLite" and "bigint" not in fields(connection_string)


def _check(connection: Any, record: Any, proxy: Any) -> None:  # noqa: ANN401
    """Asks a connection that was idle whether it still works; the pool then tries another."""
    if "settings" not in record.info:
        record.info["settings"] = _own_settings(connection)
        return
    try:
        connection.execute("SELECT 1").close()
    except pyodbc.Error:
        raise exc.DisconnectionError from None


def _own_settings(connection: Any) -> list[str] | None:  # noqa: ANN401
    """What driver and connection string have set, to set it again after a wipe.

    None where a session cannot be wiped.
    """
    if connection.getinfo(pyodbc.SQL_DBMS_NAME) != "PostgreSQL":
        return None
    rows = connection.execute(_POSTGRES_SETTINGS).fetchall()
    return [text for row in rows for text in row]
