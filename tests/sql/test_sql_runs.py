"""What engine and `sql` step promise together: cancel, timeouts, the check before COMMIT."""

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack

import pytest

from scheduler.settings import Settings
from tests.sql.runs import SqlRuns, outcomes, sql_runs
from tests.sql.servers import Onlooker, standing_still, threads, until
from tests.storage.outage import black_out, of_a_table
from tests.storage.wire import Mode

LONG = "INSERT INTO t VALUES (1); SELECT pg_sleep(600)"
ASLEEP = "pg_sleep(600)"
# Whoever has not got the lock waits in the database for as long as a test has it.
GATED = "SELECT pg_advisory_xact_lock(1); INSERT INTO t VALUES (:attempt)"
ATTEMPT = {"attempt": "{{attempt}}"}
CANCEL_PROMISE_SECONDS = 20
RENEWAL_SECONDS = 0.2
GRACE_SECONDS = 0.5
SLACK_SECONDS = 3
QUICK = {
    "lease_seconds": 86_400,
    "lease_renewal_seconds": RENEWAL_SECONDS,
    "cancel_grace_seconds": GRACE_SECONDS,
}
LEASE_AND_SKEW_SECONDS = 90

type NewRuns = Callable[..., Awaitable[SqlRuns]]


@pytest.fixture
async def new_runs(azurite: str, scheduler_name: str) -> AsyncIterator[NewRuns]:
    """Makes a scheduler on a database, with settings of the test's choice."""
    async with AsyncExitStack() as stack:

        async def make(connection_string: str, **settings: object) -> SqlRuns:
            return await stack.enter_async_context(
                sql_runs(azurite, scheduler_name, connection_string, **settings)
            )

        yield make


@pytest.fixture
async def quick(new_runs: NewRuns, postgres_connection: str) -> SqlRuns:
    """A scheduler whose leases are renewed several times a second, and outlast every step."""
    return await new_runs(postgres_connection, **QUICK)


@pytest.fixture
async def patient(new_runs: NewRuns, postgres_connection: str) -> SqlRuns:
    """A scheduler with the leases of production, which are not renewed while a test looks on."""
    return await new_runs(postgres_connection, lease_renewal_seconds=86_400)


@pytest.fixture
async def on_stopped(new_runs: NewRuns, stoppable_connection: str) -> SqlRuns:
    """As `quick`, on a server that may be brought to a standstill."""
    return await new_runs(stoppable_connection, **QUICK)


@pytest.fixture
def onlooker(request: pytest.FixtureRequest) -> Iterator[Onlooker]:
    """Looks at the database of the test."""
    stops = "on_stopped" in request.fixturenames
    name = "stoppable_connection" if stops else "postgres_connection"
    onlooker = Onlooker(request.getfixturevalue(name))
    onlooker.do("DROP TABLE IF EXISTS t; CREATE TABLE t (x integer)")
    yield onlooker
    onlooker.close()


async def test_a_cancel_reaches_the_server_within_what_is_promised(
    quick: SqlRuns, onlooker: Onlooker
) -> None:
    execution_id = await quick.start(LONG)
    await until(lambda: onlooker.busy(ASLEEP))
    await quick.cancel(execution_id)
    asked = time.monotonic()
    await until(lambda: not onlooker.busy(ASLEEP))
    await quick.worked()
    # A cancel is learned of at the next renewal; what is left of the promise is for all the rest.
    left = CANCEL_PROMISE_SECONDS - Settings.load({}).lease_renewal_seconds
    assert time.monotonic() - asked - RENEWAL_SECONDS < left
    body = await quick.ended(execution_id)
    (step,) = body["steps"]
    assert (body["status"], step["error_code"]) == ("cancelled", "step_cancelled")
    assert step["error_message"] == "the step was stopped, for the execution was cancelled"
    assert onlooker.column("SELECT count(*) FROM t") == [0]


async def test_the_jobs_deadline_stops_the_statement_and_the_message_says_where_the_time_went(
    quick: SqlRuns, onlooker: Onlooker
) -> None:
    execution_id = await quick.start(LONG, job={"timeout_seconds": 3}, max_retries=3)
    await until(lambda: onlooker.busy(ASLEEP))
    quick.sim.clock.advance(3)
    await quick.worked()
    assert onlooker.busy(ASLEEP) == []
    body = await quick.ended(execution_id)
    (step,) = body["steps"]
    assert (body["status"], step["status"], outcomes(body)) == ("timeout", "timeout", ["timeout"])
    assert step["error_message"] == (
        "the step was stopped after 3 s, for the job's timeout_seconds were over"
    )
    assert body["message"] == (
        "the job's timeout_seconds of 3 passed before its steps were done: "
        "0 s before the first step, 3 s in step one"
    )
    assert onlooker.column("SELECT count(*) FROM t") == [0]


async def test_a_step_that_times_out_is_stopped_on_the_server_and_tried_again(
    quick: SqlRuns, onlooker: Onlooker
) -> None:
    query = "INSERT INTO t VALUES (:attempt); SELECT pg_sleep(CASE :attempt WHEN 1 THEN 600 END)"
    execution_id = await quick.start(query, parameters=ATTEMPT, timeout=1, max_retries=1)
    body = await quick.ended(execution_id)
    assert (body["status"], outcomes(body)) == ("success", ["timeout", "success"])
    assert onlooker.column("SELECT x FROM t") == [2]


async def test_a_worker_that_was_taken_over_rolls_back_and_records_nothing(
    patient: SqlRuns, onlooker: Onlooker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    onlooker.do("SELECT pg_advisory_lock(1)")
    execution_id = await patient.start(GATED, parameters=ATTEMPT)
    await until(lambda: len(onlooker.busy("xact_lock")) == 1)
    patient.sim.clock.advance(LEASE_AND_SKEW_SECONDS + 1)
    await patient.sim.app.run_upkeep()
    second = patient.sim.new_app()
    patient.use_sql(second)
    patient.work(second)
    await until(lambda: len(onlooker.busy("xact_lock")) == 2)
    # The lock goes to who has waited longest: the first worker inserts, and asks before COMMIT.
    onlooker.do("SELECT pg_advisory_unlock(1)")
    body = await patient.ended(execution_id)
    assert (body["status"], outcomes(body)) == ("success", ["lost", "success"])
    assert onlooker.column("SELECT x FROM t") == [2]
    refused = [one for one in caplog.records if getattr(one, "action", "") == "record_refused"]
    assert len(refused) == 1


@pytest.mark.parametrize(
    ("requests", "attempts"), [(2, ["success"]), (3, ["lost", "success"])], ids=["short", "long"]
)
async def test_with_storage_away_at_the_check_nothing_is_committed_that_is_repeated(
    patient: SqlRuns, onlooker: Onlooker, requests: int, attempts: list[str]
) -> None:
    onlooker.do("SELECT pg_advisory_lock(1)")
    execution_id = await patient.start(GATED, parameters=ATTEMPT)
    await until(lambda: onlooker.busy("xact_lock"))
    outage = black_out(patient.sim.wire, Mode.REFUSED, requests, of_a_table)
    onlooker.do("SELECT pg_advisory_unlock(1)")
    await patient.worked()
    assert outage.hit == "Executions batch"
    assert onlooker.column("SELECT x FROM t") == ([] if "lost" in attempts else [1])
    body = await patient.ended(execution_id)
    assert (body["status"], outcomes(body)) == ("success", attempts)
    assert onlooker.column("SELECT x FROM t") == [len(attempts)]


async def test_a_cancel_while_the_server_stands_still_ends_the_execution_and_says_unknown(
    on_stopped: SqlRuns, onlooker: Onlooker
) -> None:
    execution_id = await on_stopped.start(LONG)
    await until(lambda: onlooker.busy(ASLEEP))
    with standing_still(onlooker.server):
        await on_stopped.cancel(execution_id)
        assert await on_stopped.worked() < RENEWAL_SECONDS + GRACE_SECONDS + SLACK_SECONDS
        body = await on_stopped.ended(execution_id)
    assert (body["status"], outcomes(body)) == ("cancelled", ["cancelled"])
    assert body["steps"][0]["error_message"] == (
        "the step was stopped, for the execution was cancelled; the connection 'default' did not "
        "answer within 0.5 s, so what the step did there is unknown, but COMMIT was not sent"
    )
    await until(lambda: not onlooker.others())
    assert onlooker.column("SELECT count(*) FROM t") == [0]


async def test_a_step_that_times_out_on_a_server_that_stands_still_is_tried_again(
    on_stopped: SqlRuns, onlooker: Onlooker
) -> None:
    query = "INSERT INTO t VALUES (:attempt); SELECT pg_sleep(CASE :attempt WHEN 1 THEN 600 END)"
    execution_id = await on_stopped.start(query, parameters=ATTEMPT, timeout=3, max_retries=1)
    await until(lambda: onlooker.busy("pg_sleep"))
    with standing_still(onlooker.server):
        await on_stopped.worked()
        (step,) = (await on_stopped.sim.read(execution_id))["steps"]
        assert (step["status"], step["error_code"]) == ("retrying", "step_timeout")
        assert step["error_message"].startswith("the step was stopped after its timeout of 3 s; ")
        assert "what the step did there is unknown" in step["error_message"]
    await until(lambda: not onlooker.others())
    body = await on_stopped.ended(execution_id)
    assert (body["status"], outcomes(body)) == ("success", ["timeout", "success"])
    assert onlooker.column("SELECT x FROM t") == [2]


async def test_a_step_that_times_out_while_it_connects_says_that_nothing_was_done(
    on_stopped: SqlRuns, onlooker: Onlooker
) -> None:
    with standing_still(onlooker.server):
        execution_id = await on_stopped.start("INSERT INTO t VALUES (1)", timeout=1, max_retries=1)
        await on_stopped.worked()
        (step,) = (await on_stopped.sim.read(execution_id))["steps"]
        assert (step["status"], step["error_message"]) == (
            "retrying",
            "the step was stopped after its timeout of 1 s; the connection 'default' was still "
            "being opened, and nothing had been sent on it",
        )
    body = await on_stopped.ended(execution_id)
    assert (body["status"], outcomes(body)) == ("success", ["timeout", "success"])
    assert onlooker.column("SELECT x FROM t") == [1]


async def in_its_commit(
    runs: SqlRuns, onlooker: Onlooker, act: Callable[[], Awaitable[None]]
) -> None:
    """Brings the server to a standstill right before a COMMIT, for as long as `act`."""
    await until(lambda: onlooker.busy("xact_lock"))
    check = runs.sim.wire.arm(1, Mode.HELD, lambda kind: kind == "Executions batch")
    onlooker.do("SELECT pg_advisory_unlock(1)")
    await until(lambda: onlooker.in_transaction() and check.reached.is_set())
    with standing_still(onlooker.server):
        check.released.set()
        await until(lambda: threads("commit"))
        await act()
        await runs.worked()
    await until(lambda: not onlooker.others())


async def test_a_cancel_during_a_commit_that_is_not_answered_says_that_its_end_is_unknown(
    on_stopped: SqlRuns, onlooker: Onlooker
) -> None:
    onlooker.do("SELECT pg_advisory_lock(1)")
    execution_id = await on_stopped.start(GATED, parameters=ATTEMPT)
    await in_its_commit(on_stopped, onlooker, lambda: on_stopped.cancel(execution_id))
    body = await on_stopped.ended(execution_id)
    assert (body["status"], outcomes(body)) == ("cancelled", ["cancelled"])
    assert "during COMMIT" in body["steps"][0]["error_message"]
    assert "is not known: look at the data" in body["steps"][0]["error_message"]
    assert onlooker.column("SELECT x FROM t") == [1]


async def test_a_timeout_during_a_commit_that_is_not_answered_is_not_tried_again(
    on_stopped: SqlRuns, onlooker: Onlooker
) -> None:
    onlooker.do("SELECT pg_advisory_lock(1)")
    execution_id = await on_stopped.start(GATED, parameters=ATTEMPT, timeout=4, max_retries=3)

    async def time_passes() -> None:
        return

    await in_its_commit(on_stopped, onlooker, time_passes)
    body = await on_stopped.ended(execution_id)
    (step,) = body["steps"]
    assert (body["status"], step["error_code"]) == ("failed", "sql_commit_unknown")
    assert outcomes(body) == ["failed"]
    # It had been sent, so it took effect once the server went on.
    assert onlooker.column("SELECT x FROM t") == [1]
