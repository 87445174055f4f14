"""How a `sql` step fails: codes, retryability, and nothing secret in the text."""

import socket
from pathlib import Path

import pytest

from steps.sql import SqlStep
from tests.sql.bench import Bench


async def test_driver_sentence_and_sqlstate_are_told(postgres: Bench) -> None:
    failed = await postgres.fails("SELECT * FROM no_such_table")
    assert failed.code == "sql_error"
    assert failed.message == (
        'the database refused it (SQLSTATE 42P01): ERROR: relation "no_such_table" does not exist'
    )
    assert failed.metadata == {"sqlstate": "42P01", "statement": 1}
    assert failed.retryable is False


@pytest.mark.parametrize(
    ("query", "state"),
    [
        ("SELECT 1/0", "22012"),
        ("INSERT INTO t VALUES (1)", "23505"),
        ("SELEC 1", "42601"),
        ("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '28000'; END $$", "28000"),
    ],
)
async def test_faults_that_stay_are_not_retried(postgres: Bench, query: str, state: str) -> None:
    await postgres.run("CREATE TABLE t (x integer PRIMARY KEY); INSERT INTO t VALUES (1)")
    failed = await postgres.fails(query)
    assert (failed.code, failed.metadata["sqlstate"]) == ("sql_error", state)
    assert failed.retryable is False


@pytest.mark.parametrize("state", ["40001", "40P01", "53300", "55P03"])
async def test_passing_faults_are_retried(postgres: Bench, state: str) -> None:
    failed = await postgres.fails(
        f"DO $$ BEGIN RAISE EXCEPTION 'busy' USING ERRCODE = '{state}'; END $$"
    )
    assert (failed.code, failed.metadata["sqlstate"]) == ("sql_error", state)
    assert failed.retryable is True


async def test_sqlite_faults_are_retried_as_its_driver_does_not_tell_them_apart(
    sqlite: Bench,
) -> None:
    failed = await sqlite.fails("SELECT 1; SELECT * FROM nowhere; SELECT 2")
    assert failed.code == "sql_error"
    assert failed.retryable is True
    assert "statement 2 of 3 (SQLSTATE HY000): no such table: nowhere" in failed.message


async def test_error_in_a_later_result_set_surfaces(postgres: Bench) -> None:
    await postgres.run("CREATE TABLE t (x integer)")
    failed = await postgres.fails("INSERT INTO t VALUES (1); SELECT 1 / (SELECT 0)")
    assert failed.metadata["sqlstate"] == "22012"
    assert await postgres.rows("SELECT count(*) FROM t") == [[0]]


@pytest.mark.parametrize("password", ["hunter2secret", "{hunter2;se}}cret}"])
async def test_closed_port_is_told_without_credentials(step: SqlStep, password: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        string = (
            f"Driver={{PostgreSQL Unicode}};Server=127.0.0.1;Port={port};Database=d;"
            f"UID=someuser;PWD={password}"
        )
        failed = await Bench(step, string).fails("SELECT 1")
    assert failed.code == "sql_connection_failed"
    assert failed.retryable is True
    assert failed.metadata == {"sqlstate": "08001"}
    assert "Connection refused" in failed.message
    for secret in ("hunter2", "cret", "someuser", string):
        assert secret not in failed.message


async def test_refused_password_is_told_without_the_user(
    step: SqlStep, postgres_server: str
) -> None:
    wrong = f"{postgres_server.partition('PWD=')[0]}PWD=hunter2;Database=postgres"
    failed = await Bench(step, wrong).fails("SELECT 1")
    assert failed.code == "sql_connection_failed"
    assert 'password authentication failed for user "***"' in failed.message
    assert "hunter2" not in failed.message
    assert "owner" not in failed.message


async def test_missing_driver_names_those_that_are_there(step: SqlStep) -> None:
    for string in ("Driver=No Such;Server=x;PWD=hunter2", "DSN=none;PWD=hunter2"):
        failed = await Bench(step, string).fails("SELECT 1")
        assert failed.code == "sql_driver_not_found"
        assert failed.retryable is False
        assert "SQLite3" in failed.message
        assert "hunter2" not in failed.message


async def test_unreachable_sqlite_file_is_a_connection_failure(
    step: SqlStep, tmp_path: Path
) -> None:
    failed = await Bench(step, f"Driver=SQLite3;Database={tmp_path}/no/x.db").fails("SELECT 1")
    assert failed.code == "sql_connection_failed"


async def test_unknown_connection_is_the_contexts_failure(sqlite: Bench) -> None:
    failed = await sqlite.fails("SELECT 1", connection_name="other")
    assert failed.code == "connection_not_found"


async def test_value_that_cannot_be_read_says_so(postgres: Bench) -> None:
    failed = await postgres.fails("SELECT time '24:00'")
    assert failed.code == "sql_value_unsupported"
    assert "cast it to text" in failed.message
    assert failed.retryable is False


async def test_step_type_is_available_here(step: SqlStep) -> None:
    assert step.unavailable_reason() is None
