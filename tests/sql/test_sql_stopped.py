"""A database that stands still in the middle of a step: the step is given up in time, the rest goes
on, and what is not known is said to be so."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial

import pytest

from steps.contract import NotStopped, StepFailed
from steps.sql import SqlStep
from tests.sql.bench import Bench
from tests.sql.servers import (
    PATIENCE_SECONDS,
    Onlooker,
    standing_still,
    stopped,
    threads,
    until,
)

GRACE_SECONDS = 0.5
SLACK_SECONDS = 3
SLEEP = "INSERT INTO t VALUES (1); SELECT pg_sleep(600)"
ASLEEP = "pg_sleep(600)"


@pytest.fixture
def onlooker(stoppable_connection: str) -> Iterator[Onlooker]:
    """Looks at the database that will stand still."""
    onlooker = Onlooker(stoppable_connection)
    onlooker.do("DROP TABLE IF EXISTS t; CREATE TABLE t (x integer)")
    yield onlooker
    onlooker.close()


@pytest.fixture
async def bench(
    step: SqlStep, stoppable_connection: str, postgres_server: str
) -> AsyncIterator[Bench]:
    """Steps on it, and on `healthy`, a database of another server."""
    bench = Bench(step, stoppable_connection)
    bench.context.grace_seconds = GRACE_SECONDS
    bench.context.connections["healthy"] = f"{postgres_server};Database=postgres"
    assert await bench.rows("SELECT 1", connection_name="healthy") == [[1]]
    yield bench
    await until(lambda: not threads())


def executing(count: int) -> bool:
    return threads("execute") == count


async def told_to_stop[T](step: Awaitable[T]) -> tuple[BaseException, float]:
    """What a step raises that is told to stop, and how many seconds it takes to."""
    task = asyncio.ensure_future(step)
    task.cancel()
    began = time.monotonic()
    (raised,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(raised, BaseException), raised
    return raised, time.monotonic() - began


async def begun(bench: Bench, onlooker: Onlooker) -> asyncio.Task[object]:
    """A step whose statement runs on the server."""
    already = onlooker.busy(ASLEEP)
    task: asyncio.Task[object] = asyncio.create_task(bench.run(SLEEP))
    await until(lambda: len(onlooker.busy(ASLEEP)) > len(already))
    return task


async def others_go_on(bench: Bench) -> None:
    """Others run, on the same pool and elsewhere."""
    for _ in range(3):
        assert await bench.rows("SELECT 1") == [[1]]
        assert await bench.rows("SELECT 2", connection_name="healthy") == [[2]]


async def test_a_step_that_cannot_be_stopped_is_given_up_and_said_to_be_unknown(
    bench: Bench, onlooker: Onlooker
) -> None:
    task = await begun(bench, onlooker)
    with standing_still(onlooker.server):
        raised, seconds = await told_to_stop(task)
        assert isinstance(raised, NotStopped)
        assert str(raised) == (
            "the connection 'default' did not answer within 0.5 s, so what the step did there is "
            "unknown, but COMMIT was not sent"
        )
        assert GRACE_SECONDS <= seconds < GRACE_SECONDS + SLACK_SECONDS
        assert await bench.rows("SELECT 1", connection_name="healthy") == [[1]]
    await until(lambda: not onlooker.others())
    assert onlooker.column("SELECT count(*) FROM t") == [0]
    assert await bench.rows("SELECT count(*) FROM t") == [[0]]


async def test_without_a_transaction_nothing_is_said_of_a_commit(
    bench: Bench, onlooker: Onlooker
) -> None:
    task = asyncio.create_task(bench.run(SLEEP, transaction=False))
    await until(lambda: onlooker.busy(ASLEEP))
    with standing_still(onlooker.server):
        raised, _ = await told_to_stop(task)
    assert str(raised).endswith("so what the step did there is unknown")


async def test_others_on_the_same_pool_and_elsewhere_go_on_meanwhile(
    bench: Bench, onlooker: Onlooker
) -> None:
    bench.context.grace_seconds = PATIENCE_SECONDS
    task = await begun(bench, onlooker)
    with stopped(*onlooker.busy(ASLEEP)):
        stopping = asyncio.create_task(told_to_stop(task))
        await others_go_on(bench)
        assert not stopping.done()
    raised, _ = await stopping
    assert isinstance(raised, asyncio.CancelledError)
    assert onlooker.column("SELECT count(*) FROM t") == [0]


async def test_a_pools_first_connection_that_is_stuck_holds_up_no_other(
    bench: Bench, onlooker: Onlooker, stoppable_connection: str
) -> None:
    holder = Onlooker(stoppable_connection)
    holder.do("BEGIN; LOCK TABLE pg_settings")
    task = asyncio.create_task(bench.run("SELECT 1"))
    await until(lambda: onlooker.busy("pg_settings"))
    with stopped(*onlooker.busy("pg_settings")):
        holder.close()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await others_go_on(bench)
        assert not task.done()
    await task


async def test_more_steps_than_there_are_places_can_be_stuck_and_another_still_runs(
    stoppable_connection: str, bench: Bench, onlooker: Onlooker
) -> None:
    few = SqlStep(max_attempts=2)
    narrow = Bench(few, stoppable_connection)
    narrow.context = bench.context
    tasks = [await begun(narrow, onlooker) for _ in range(2)]
    tasks += [asyncio.create_task(narrow.run("SELECT 3")) for _ in range(3)]
    with standing_still(onlooker.server):
        ends = [raised for raised, _ in await asyncio.gather(*map(told_to_stop, tasks))]
        assert [type(one) for one in ends[:2]] == [NotStopped] * 2
        for stuck in (3, 4):
            late = asyncio.create_task(narrow.run("SELECT 4"))
            await until(partial(executing, stuck))
            ends.append((await told_to_stop(late))[0])
        assert [type(one) for one in ends[-2:]] == [NotStopped] * 2
        assert threads("execute") == 4
        # A cancel that is stuck as well is not followed by others.
        assert threads("interrupt") == 2
        assert await narrow.rows("SELECT 5", connection_name="healthy") == [[5]]
    await until(lambda: not onlooker.others())
    await few.close()


@pytest.mark.parametrize("idle", [False, True], ids=["new connection", "idle connection"])
async def test_a_connection_that_does_not_open_is_given_up_and_nothing_was_done(
    bench: Bench, onlooker: Onlooker, idle: bool
) -> None:
    if idle:
        await bench.run("SELECT 1")
    with standing_still(onlooker.server):
        task = asyncio.create_task(bench.run("INSERT INTO t VALUES (1)"))
        await until(lambda: threads("execute"))
        raised, seconds = await told_to_stop(task)
        assert isinstance(raised, NotStopped)
        assert str(raised) == (
            "the connection 'default' was still being opened, and nothing had been sent on it"
        )
        assert seconds < GRACE_SECONDS + SLACK_SECONDS
        assert await bench.rows("SELECT 1", connection_name="healthy") == [[1]]
    await until(lambda: not threads() and not onlooker.others())
    assert onlooker.column("SELECT count(*) FROM t") == [0]


async def at_its_commit(
    bench: Bench, onlooker: Onlooker, act: Callable[[asyncio.Task[object]], Awaitable[None]]
) -> asyncio.Task[object]:
    """A step whose database stands still from right before its COMMIT, for as long as `act`."""
    confirmed, go_on = asyncio.Event(), asyncio.Event()

    async def confirm() -> None:
        confirmed.set()
        await go_on.wait()

    bench.context.on_confirm = confirm
    task: asyncio.Task[object] = asyncio.create_task(bench.run("INSERT INTO t VALUES (1)"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await confirmed.wait()
    with standing_still(onlooker.server):
        go_on.set()
        await act(task)
    bench.context.on_confirm = None
    return task


async def test_a_commit_without_an_answer_is_unknown_and_not_to_be_tried_again(
    bench: Bench, onlooker: Onlooker
) -> None:
    async def stop(task: asyncio.Task[object]) -> None:
        await until(lambda: threads("commit"))
        raised, seconds = await told_to_stop(task)
        assert seconds < GRACE_SECONDS + SLACK_SECONDS
        assert isinstance(raised, StepFailed)
        assert (raised.code, raised.retryable) == ("sql_commit_unknown", False)
        assert "COMMIT" in raised.message
        assert "is not known: look at the data" in raised.message

    await at_its_commit(bench, onlooker, stop)
    await until(lambda: not threads() and not onlooker.others())
    # It had been sent, so it did take effect: a second attempt would have been one too many.
    assert onlooker.column("SELECT count(*) FROM t") == [1]


async def test_a_commit_that_is_answered_within_the_grace_counts(
    bench: Bench, onlooker: Onlooker
) -> None:
    bench.context.grace_seconds = PATIENCE_SECONDS

    async def stop(task: asyncio.Task[object]) -> None:
        await until(lambda: threads("commit"))
        task.cancel()
        await asyncio.sleep(0)

    task = await at_its_commit(bench, onlooker, stop)
    await task
    assert onlooker.column("SELECT count(*) FROM t") == [1]


async def test_a_commit_that_is_refused_within_the_grace_is_told_as_it_is(
    bench: Bench, onlooker: Onlooker
) -> None:
    bench.context.grace_seconds = PATIENCE_SECONDS
    onlooker.do("ALTER TABLE t ADD UNIQUE (x) DEFERRABLE INITIALLY DEFERRED")
    onlooker.do("INSERT INTO t VALUES (1)")

    async def stop(task: asyncio.Task[object]) -> None:
        await until(lambda: threads("commit"))
        task.cancel()
        await asyncio.sleep(0)

    task = await at_its_commit(bench, onlooker, stop)
    with pytest.raises(StepFailed) as refused:
        await task
    assert (refused.value.code, refused.value.metadata["sqlstate"]) == ("sql_error", "23505")


async def test_a_rollback_without_an_answer_is_left_to_the_database(
    bench: Bench, onlooker: Onlooker
) -> None:
    confirmed = asyncio.Event()

    async def hang() -> None:
        confirmed.set()
        await asyncio.Event().wait()

    bench.context.on_confirm = hang
    task = asyncio.create_task(bench.run("INSERT INTO t VALUES (1)"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        await confirmed.wait()
    with standing_still(onlooker.server):
        raised, seconds = await told_to_stop(task)
        assert isinstance(raised, asyncio.CancelledError)
        assert seconds < GRACE_SECONDS + SLACK_SECONDS
    await until(lambda: not threads() and not onlooker.others())
    assert onlooker.column("SELECT count(*) FROM t") == [0]
