"""Real databases behind ODBC: a SQLite file for each test, one PostgreSQL server a run."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pyodbc
import pytest
import pytest_asyncio

from steps.sql import SqlStep
from tests.sql.bench import Bench

pyodbc.pooling = False


@pytest_asyncio.fixture
async def step() -> AsyncIterator[SqlStep]:
    """The step type, with a cancel grace of one second."""
    step = SqlStep(cancel_grace_seconds=1.0)
    yield step
    await step.close()


@pytest.fixture
def sqlite_connection(tmp_path: Path) -> str:
    """A connection string of an empty SQLite file."""
    return f"Driver=SQLite3;Database={tmp_path / 'data.db'};Timeout=200;FKSupport=1"


@pytest.fixture
def sqlite(step: SqlStep, sqlite_connection: str) -> Bench:
    """Steps on an empty SQLite database."""
    return Bench(step, sqlite_connection)


def _postgres_program() -> str | None:
    """The server on PATH, or the newest where Debian puts it."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return shutil.which("postgres") or (str(installed[-1]) if installed else None)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A connection string, without a database, of a PostgreSQL server started for this run."""
    server = _postgres_program()
    if server is None:
        pytest.skip("no PostgreSQL server is installed (apt-get install postgresql)")
    programs = Path(server).resolve().parent
    # The server refuses to run as root.
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    if user:
        shutil.chown(folder, user)
    password = secrets.token_hex(8)
    word_file = folder / "password"
    word_file.write_text(password)
    word_file.chmod(0o644)
    data = folder / "data"
    initdb: list[str | Path] = [programs / "initdb", "-D", data, f"--pwfile={word_file}"]
    initdb += ["-U", "owner", "-A", "scram-sha-256", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, user=user)
    port = _free_port()
    serve: list[str | Path] = [programs / "postgres", "-D", data, f"--port={port}"]
    serve += ["--listen_addresses=127.0.0.1", f"--unix_socket_directories={folder}", "--fsync=off"]
    # A date style that is not the driver's own shows whether that comes back after a wipe.
    serve += ["--datestyle=SQL, DMY"]
    process = subprocess.Popen(serve, stderr=subprocess.DEVNULL, cwd=folder, user=user)
    connection = (
        f"Driver={{PostgreSQL Unicode}};Server=127.0.0.1;Port={port};UID=owner;PWD={password}"
    )
    try:
        _wait_until_it_answers(process, f"{connection};Database=postgres")
        yield connection
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_answers(process: subprocess.Popen[bytes], connection: str) -> None:
    """Logs in with this run's own password, so that no other server is taken for it."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(pyodbc.Error):
            pyodbc.connect(connection, timeout=5).close()
            return
    raise RuntimeError("the PostgreSQL server does not answer")


@pytest.fixture
def postgres_connection(postgres_server: str) -> str:
    """A connection string of an empty PostgreSQL database."""
    name = f"t{secrets.token_hex(6)}"
    server = pyodbc.connect(f"{postgres_server};Database=postgres", autocommit=True)
    server.execute(f"CREATE DATABASE {name}")
    server.close()
    return f"{postgres_server};Database={name}"


@pytest.fixture
def postgres(step: SqlStep, postgres_connection: str) -> Bench:
    """Steps on an empty PostgreSQL database."""
    return Bench(step, postgres_connection)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Bench:
    """Steps on an empty database, of each kind in turn."""
    bench: Bench = request.getfixturevalue(request.param)
    return bench
