"""Real databases behind ODBC: a SQLite file for each test, PostgreSQL servers for the whole run."""

import secrets
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pyodbc
import pytest
import pytest_asyncio

from steps.sql import SqlStep
from tests.sql.bench import Bench
from tests.sql.servers import serving

pyodbc.pooling = False


@pytest_asyncio.fixture
async def step() -> AsyncIterator[SqlStep]:
    """The step type."""
    step = SqlStep()
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


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A connection string, without a database, of a PostgreSQL server started for this run."""
    # A date style that is not the driver's own shows whether that comes back after a wipe.
    with serving(["datestyle=SQL, DMY"]) as connection_string:
        yield connection_string


@pytest.fixture(scope="session")
def stoppable_connection() -> Iterator[str]:
    """A connection string of a database on a server that tests may bring to a standstill."""
    with serving() as connection_string:
        yield f"{connection_string};Database=postgres"


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
