"""PostgreSQL servers of a test run: started, looked at, and brought to a standstill."""

import asyncio
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pyodbc
import pytest

from steps.sql.threads import THREAD_NAME
from tools.postgres import Postgres
from tools.process import ProcessFailed

PATIENCE_SECONDS = 20
_STILL = ("T", "Z", "")
"""The states of a process that was stopped, or has ended meanwhile."""
_OTHERS = "datname = current_database() AND pid <> pg_backend_pid()"


@contextmanager
def serving(settings: Sequence[str] = ()) -> Iterator[str]:
    """A server of its own; gives a connection string that lacks the database."""
    with ExitStack() as stack:
        try:
            server = stack.enter_context(Postgres(settings))
        except ProcessFailed as failed:
            if "is installed" not in str(failed):
                raise
            pytest.skip(str(failed))
        yield server.connection_string.partition(";Database=")[0]


class Onlooker:
    """A connection of the test's own, by which it sees what a step does in the database."""

    def __init__(self, connection_string: str) -> None:
        self.connection_string = connection_string
        self._connection = pyodbc.connect(connection_string, autocommit=True)
        (self._pid,) = self.column("SELECT pg_backend_pid()")

    def close(self) -> None:
        """Ends it."""
        self._connection.close()

    def do(self, query: str) -> None:
        """Runs a query that has no rows."""
        self._connection.execute(query).close()

    def column(self, query: str) -> list[int]:
        """The first column of a query's rows."""
        return [row[0] for row in self._connection.execute(query).fetchall()]

    def busy(self, words: str = "") -> list[int]:
        """The process ids of others in this database that run a statement with these words."""
        return self.column(
            f"SELECT pid FROM pg_stat_activity WHERE {_OTHERS} AND state = 'active'"
            f" AND query LIKE '%{words}%'"
        )

    def in_transaction(self) -> list[int]:
        """The process ids of others in this database that have one open and run nothing."""
        return self.column(
            f"SELECT pid FROM pg_stat_activity WHERE {_OTHERS} AND state = 'idle in transaction'"
        )

    def others(self) -> list[int]:
        """The process ids of all other connections to this database."""
        return self.column(f"SELECT pid FROM pg_stat_activity WHERE {_OTHERS}")

    @property
    def server(self) -> int:
        """The process id of the server, whose children serve a connection each."""
        return int(_stat(self._pid)[1])


async def until(holds: Callable[[], object]) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


def threads(doing: str = "") -> int:
    """How many threads of `sql` steps have not come back: from `execute`, `commit`, or at all."""
    name = f"{THREAD_NAME}-{doing}"
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Brings processes to a standstill, as a machine that has no time for them."""
    with _waking(pids):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(_stat(pid)[0] not in _STILL for pid in pids):
            assert time.monotonic() < deadline, "they do not stop"
        yield


@contextmanager
def standing_still(server: int) -> Iterator[None]:
    """Brings a server and all its children to a standstill."""
    # Once the server itself stands still, no further child comes.
    with stopped(server), stopped(*_children(server)):
        yield


@contextmanager
def _waking(pids: Sequence[int]) -> Iterator[None]:
    """Lets processes go on at the end, be it that this process is killed."""
    command = f"read _; kill -CONT {' '.join(map(str, pids))}"
    with subprocess.Popen(
        ["sh", "-c", command],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ):
        yield


def _children(parent: int) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [pid for pid in pids if _stat(pid)[1] == str(parent)]


def _stat(pid: int) -> list[str]:
    """State and parent of a process, and what else `/proc/…/stat` has behind its name."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return ["", ""]
    return text.rpartition(")")[2].split()
