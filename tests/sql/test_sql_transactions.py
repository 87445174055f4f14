"""All or nothing, the check before COMMIT, cancelling, and sessions that share nothing."""

import asyncio
import subprocess
import sys
import time

import pyodbc
import pytest

from steps.contract import LeaseLost, NotStopped, StepFailed
from tests.sql.bench import Bench

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
PATIENCE_SECONDS = 20


async def test_failure_undoes_all_statements_before_it(database: Bench) -> None:
    await database.run("CREATE TABLE t (x integer)")
    await database.fails("INSERT INTO t VALUES (1); INSERT INTO nowhere VALUES (2)")
    assert await database.rows("SELECT count(*) FROM t") == [[0]]


async def test_without_transaction_earlier_statements_stay(sqlite: Bench) -> None:
    await sqlite.run("CREATE TABLE t (x integer)")
    await sqlite.fails(
        "INSERT INTO t VALUES (1); INSERT INTO nowhere VALUES (2)", transaction=False
    )
    assert await sqlite.rows("SELECT count(*) FROM t") == [[1]]


async def test_without_transaction_an_author_may_begin_one(database: Bench) -> None:
    await database.run("CREATE TABLE t (x integer)")
    await database.run("BEGIN; INSERT INTO t VALUES (1); ROLLBACK;", transaction=False)
    await database.run("BEGIN; INSERT INTO t VALUES (2); COMMIT;", transaction=False)
    await database.run("BEGIN; INSERT INTO t VALUES (3)", transaction=False)
    assert await database.rows("SELECT x FROM t") == [[2]]


async def test_effects_show_only_after_the_confirmation(database: Bench) -> None:
    await database.run("CREATE TABLE t (x integer)")
    seen: list[int] = []

    async def look() -> None:
        connection = pyodbc.connect(database.context.connections["default"], autocommit=True)
        seen.extend(row[0] for row in connection.execute("SELECT count(*) FROM t").fetchall())
        connection.close()

    database.context.confirmations = 0
    database.context.on_confirm = look
    await database.run("INSERT INTO t VALUES (1)")
    assert database.context.confirmations == 1
    assert seen == [0]
    database.context.on_confirm = None
    assert await database.rows("SELECT count(*) FROM t") == [[1]]


@pytest.mark.parametrize("transaction", [True, False])
async def test_lost_lease_leaves_nothing_behind(database: Bench, transaction: bool) -> None:
    await database.run("CREATE TABLE t (x integer)")

    async def refuse() -> None:
        raise LeaseLost

    database.context.on_confirm = refuse
    with pytest.raises(LeaseLost):
        await database.run("INSERT INTO t VALUES (1)", transaction=transaction)
    database.context.on_confirm = None
    assert await database.rows("SELECT count(*) FROM t") == [[0]]


async def test_cancel_while_confirming_rolls_back(database: Bench) -> None:
    await database.run("CREATE TABLE t (x integer)")
    confirming = asyncio.Event()

    async def hang() -> None:
        confirming.set()
        await asyncio.Event().wait()

    database.context.on_confirm = hang
    task = asyncio.create_task(database.run("INSERT INTO t VALUES (1)"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await confirming.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    database.context.on_confirm = None
    assert await database.rows("SELECT count(*) FROM t") == [[0]]


@pytest.mark.parametrize("delay", [0, 0.001, 0.3])
async def test_cancel_stops_a_running_statement(database: Bench, delay: float) -> None:
    await database.run("CREATE TABLE t (x integer)")
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(delay):
            await database.run(f"INSERT INTO t VALUES (1); {ENDLESS}")
    assert time.monotonic() - started < PATIENCE_SECONDS
    assert await database.rows("SELECT count(*) FROM t") == [[0]]


async def test_cancelled_statement_is_gone_from_the_server(postgres: Bench) -> None:
    task = asyncio.create_task(postgres.run("SELECT pg_sleep(600) AS marked_as_long"))
    running = (
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' "
        "AND datname = current_database() AND query LIKE :what AND pid <> pg_backend_pid()"
    )
    what = {"what": "%marked_as_long%"}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await postgres.rows(running, parameters=what) == [[0]]:
            await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await postgres.rows(running, parameters=what) == [[0]]


async def test_driver_that_does_not_come_back_is_given_up(sqlite: Bench) -> None:
    """SQLite's driver cannot be cancelled while it waits for a lock."""
    await sqlite.run("CREATE TABLE t (x integer)")
    string = sqlite.context.connections["default"]
    slow = string.replace("Timeout=200", "Timeout=4000")
    sqlite.context.connections["slow"] = slow
    holder = pyodbc.connect(string, autocommit=False)
    holder.execute("INSERT INTO t VALUES (1)")
    started = time.monotonic()
    with pytest.raises(NotStopped, match="'slow' did not answer within 1 s"):
        async with asyncio.timeout(0.2):
            await sqlite.run("INSERT INTO t VALUES (2)", connection_name="slow")
    assert time.monotonic() - started < 4
    holder.commit()
    holder.close()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while "INSERT refused" in (await _try_insert(sqlite)):
            await asyncio.sleep(0)
    assert await sqlite.rows("SELECT x FROM t ORDER BY x") == [[1], [3]]


async def _try_insert(sqlite: Bench) -> str:
    try:
        await sqlite.run("INSERT INTO t VALUES (3)")
    except StepFailed as failed:
        return f"INSERT refused: {failed.message}"
    return ""


async def test_commit_that_is_refused_fails_the_step(postgres: Bench) -> None:
    await postgres.run("CREATE TABLE t (x integer UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    failed = await postgres.fails("INSERT INTO t VALUES (1); INSERT INTO t VALUES (1)")
    assert (failed.code, failed.metadata["sqlstate"]) == ("sql_error", "23505")
    assert await postgres.rows("SELECT count(*) FROM t") == [[0]]


async def test_connection_lost_before_commit_is_told_as_unknown(postgres: Bench) -> None:
    async def kill() -> None:
        postgres.context.on_confirm = None
        await postgres.run(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    await postgres.run("CREATE TABLE t (x integer)")
    postgres.context.on_confirm = kill
    failed = await postgres.fails("INSERT INTO t VALUES (1)")
    assert failed.code == "sql_commit_unknown"
    assert failed.retryable is False
    assert await postgres.rows("SELECT count(*) FROM t") == [[0]]


async def test_isolation_level_is_the_one_asked_for(postgres: Bench) -> None:
    for level in ("serializable", "repeatable_read", "serializable"):
        rows = await postgres.rows("SHOW transaction_isolation", isolation_level=level)
        assert rows == [[level.replace("_", " ")]]
    assert await postgres.rows("SHOW transaction_isolation") == [["read committed"]]


async def test_connections_are_used_again(postgres: Bench) -> None:
    pids = {(await postgres.rows("SELECT pg_backend_pid()"))[0][0] for _ in range(5)}
    assert len(pids) == 1


async def test_next_step_sees_nothing_of_the_session_before(postgres: Bench) -> None:
    postgres.context.connections["default"] += ";ConnSettings=SET statement_timeout TO 54321"
    before = await postgres.rows("SELECT pg_backend_pid()")
    await postgres.run(
        "CREATE TEMP TABLE mine (x integer); SET search_path TO pg_catalog;"
        "SET statement_timeout TO 1000; SET my.word TO 'secret'; PREPARE p AS SELECT 1;"
        "SELECT pg_advisory_lock(7)"
    )
    after = await postgres.run(
        "SELECT pg_backend_pid() AS pid, to_regclass('pg_temp.mine') AS temp, "
        "current_setting('search_path') AS path, current_setting('statement_timeout') AS wait, "
        "current_setting('my.word', true) AS word, date '2026-03-04' AS day, "
        "(SELECT count(*) FROM pg_prepared_statements WHERE name = 'p') AS prepared, "
        "(SELECT count(*) FROM pg_locks WHERE locktype = 'advisory') AS locks"
    )
    row = after.output["rows"][0]
    assert row["pid"] == before[0][0]
    assert (row["temp"], row["path"]) == (None, '"$user", public')
    assert (row["wait"], row["word"], row["day"]) == ("54321ms", "", "2026-03-04")
    assert (row["prepared"], row["locks"]) == (0, 0)


async def test_sqlite_session_is_closed_after_each_step(sqlite: Bench) -> None:
    await sqlite.run("CREATE TEMP TABLE mine (x); PRAGMA case_sensitive_like = 1")
    assert await sqlite.rows("SELECT count(*) FROM sqlite_temp_master") == [[0]]


async def test_dead_pooled_connection_is_replaced_unseen(postgres: Bench) -> None:
    await postgres.run("SELECT 1")
    other = pyodbc.connect(postgres.context.connections["default"], autocommit=True)
    other.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    ).fetchall()
    other.close()
    assert await postgres.rows("SELECT 5") == [[5]]


async def test_changed_connection_string_takes_effect(postgres: Bench) -> None:
    before = await postgres.rows("SELECT pg_backend_pid()")
    postgres.context.connections["default"] += ";ApplicationName=other"
    assert await postgres.rows("SELECT pg_backend_pid()") != before


async def test_many_at_once_share_a_bounded_number_of_connections(postgres: Bench) -> None:
    most = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    counts = await asyncio.gather(*(postgres.rows(most) for _ in range(40)))
    assert max(count[0][0] for count in counts) <= 16


def test_client_libraries_are_not_loaded_before_the_first_run() -> None:
    script = (
        "import sys; from steps.registry import Registry; Registry.discover().get('sql'); "
        "sys.exit(any(name in sys.modules for name in ('pyodbc', 'sqlalchemy')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
