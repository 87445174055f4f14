"""A call repeated with its `Idempotency-Key`: done once, whatever broke, and for 24 hours."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.api.idempotency import PARTITION, SWEEP_EVERY, SWEPT_AT_ONCE, Once, once_of
from scheduler.errors import (
    Conflict,
    IdempotencyKeyReused,
    InvalidRequest,
    NotFound,
    StorageUnavailable,
)
from tests.storage.faults import ALL, Tried, fault_tests
from tests.storage.simulation import AUTHOR, CALLER, Simulation
from tests.storage.wire import FAILURES, KILLS, Killed, Mode

pytestmark = fault_tests
MODES = (*FAILURES, *KILLS)
REQUESTS = 30
"""More than any of the calls makes."""
STORED = {"job_id": "job"}
STEP = {"type": "scripted", "id": "one"}
INLINE = {"name": "inline", "steps": [STEP]}


def call(key: str, body: Mapping[str, Any], path: str = "/api/v2/jobs/execute") -> Once:
    return once_of(AUTHOR, key, f"POST {path}", body)


async def execute(sim: Simulation, key: str, body: Mapping[str, Any] = STORED) -> str:
    reply = await sim.app.executions.execute(CALLER, AUTHOR, body, 0, call(key, body))
    sim.job_ids.add(str(reply.body["job_id"]))
    return reply.execution_id


async def create(sim: Simulation, key: str, job: Mapping[str, Any] = INLINE) -> str:
    reply = await sim.app.jobs.create(CALLER, AUTHOR, job, call(key, job, "/api/v2/jobs"))
    sim.job_ids.add(reply.body["job_id"])
    return str(reply.body["job_id"])


async def reservations(sim: Simulation) -> list[str]:
    rows = sim.storage.control.query(PARTITION, "key:", "key;")
    return [row.key async for row in rows]


async def runs_of(sim: Simulation) -> list[str]:
    """The executions that ran, one entry a run of their step."""
    return sorted(one.execution_id for one in sim.script.ran)


async def repeated(
    sim: Simulation, mode: Mode, tried: Tried, make: Callable[[int], Awaitable[str]]
) -> list[str]:
    """Breaks one request of a call after the other, and repeats the call; the ids of what it made.

    `make` makes the call for a place; the same place is the same call.
    """
    ids = []
    places = range(1, REQUESTS) if ALL else range(1 + MODES.index(mode) % 3, REQUESTS, 3)
    for at in places:
        first = None
        fault = sim.wire.arm(at, mode)
        try:
            first = await make(at)
        except (Killed, StorageUnavailable):
            assert fault.hit is not None
        await sim.wire.quiet()
        sim.wire.fault = None
        if fault.hit is not None and mode in KILLS:
            await sim.kill()
        again = [await make(at) for _ in range(2)]
        assert {first or again[0]} == set(again)
        ids.append(again[0])
        if fault.hit is None:
            break
        tried()
    return ids


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("body", [STORED, INLINE], ids=["stored", "inline"])
async def test_a_start_repeated_after_any_broken_request_is_one_run_with_one_id(
    sim: Simulation, mode: Mode, body: Mapping[str, Any], tried: Tried
) -> None:
    await sim.create("job", {"id": "one"})
    ids = await repeated(sim, mode, tried, lambda at: execute(sim, f"key-{at}", body))
    await sim.run()
    assert await runs_of(sim) == sorted(ids)
    assert len(set(ids)) == len(ids)
    await sim.assert_nothing_left()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("job_id", [None, "mine"])
async def test_a_job_made_again_after_any_broken_request_is_one_job(
    sim: Simulation, mode: Mode, job_id: str | None, tried: Tried
) -> None:
    def make(at: int) -> Awaitable[str]:
        own_id = {} if job_id is None else {"id": f"{job_id}-{at}"}
        return create(sim, f"key-{at}", {**INLINE, **own_id})

    ids = await repeated(sim, mode, tried, make)
    assert await sim.app.catalog.total() == len(set(ids)) == len(ids)


async def test_the_same_start_twice_at_once_is_one_run(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    for body in (STORED, INLINE):
        ids = await asyncio.gather(*(execute(sim, f"key-{len(body)}", body) for _ in range(5)))
        assert len(set(ids)) == 1
    await sim.run()
    assert len(await runs_of(sim)) == 2
    await sim.assert_nothing_left()


async def test_the_same_job_made_twice_at_once_is_one_job(sim: Simulation) -> None:
    ids = await asyncio.gather(*(create(sim, "key") for _ in range(5)))
    same = await asyncio.gather(*(create(sim, "named", {**INLINE, "id": "a"}) for _ in range(5)))
    assert (len(set(ids)), set(same)) == (1, {"a"})
    assert await sim.app.catalog.total() == 2


async def test_a_second_try_that_starts_the_run_keeps_the_first_ones_instant(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"})
    asked = sim.clock.now()
    sim.wire.arm(1, Mode.ERROR, lambda kind: kind == "Zones batch")
    with pytest.raises(StorageUnavailable):
        await execute(sim, "key")
    sim.clock.advance(3_600)
    execution_id = await execute(sim, "key")
    assert (await sim.read(execution_id))["scheduled_time"] == asked
    assert f"{asked:%Y%m%dT%H%M%SZ}" in execution_id
    await sim.run()
    assert await runs_of(sim) == [execution_id]


async def test_a_start_is_answered_again_whatever_has_become_of_its_job(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    execution_id = await execute(sim, "key")
    await sim.app.jobs.pause(CALLER, AUTHOR, "job", {}, None)
    assert await execute(sim, "key") == execution_id
    await sim.drop_job("job")
    assert await execute(sim, "key") == execution_id
    await sim.run()
    reply = await sim.app.executions.execute(CALLER, AUTHOR, STORED, 0, call("key", STORED))
    assert (reply.replayed, reply.finished, reply.body["status"]) == (True, True, "success")
    assert len(await runs_of(sim)) == 1


async def test_a_key_holds_for_24_hours_and_is_free_then(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    first = await execute(sim, "key")
    sim.clock.advance(24 * 3_600 - 1)
    assert await execute(sim, "key") == first
    sim.clock.advance(1)
    other = {**STORED, "force": True}
    second = await execute(sim, "key", other)
    assert second != first
    assert await execute(sim, "key", other) == second
    with pytest.raises(IdempotencyKeyReused):
        await execute(sim, "key")


async def test_keys_that_are_over_are_used_anew_by_two_at_once_without_doubling(
    sim: Simulation,
) -> None:
    await sim.create("job", {"id": "one"})
    first = await execute(sim, "key")
    sim.clock.advance(24 * 3_600)
    ids = await asyncio.gather(*(execute(sim, "key") for _ in range(4)))
    assert len(set(ids)) == 1
    assert first not in ids


@pytest.mark.parametrize("at", range(1, 6))
async def test_a_key_that_is_over_is_used_anew_once_wherever_another_call_overtakes_this_one(
    sim: Simulation, at: int
) -> None:
    await sim.create("job", {"id": "one"})
    first = await execute(sim, "key")
    sim.clock.advance(24 * 3_600)
    held = sim.wire.arm(at, Mode.HELD, lambda kind: kind.startswith("Control "))
    slow = asyncio.create_task(execute(sim, "key"))
    reached = asyncio.create_task(held.reached.wait())
    await asyncio.wait({slow, reached}, return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    sim.clock.advance(1)
    fast = await execute(sim, "key")
    held.released.set()
    assert await slow == fast != first


async def test_a_key_belongs_to_its_caller_its_path_and_its_body(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    mine = await execute(sim, "key")
    theirs = once_of(replace(AUTHOR, id="other"), "key", "POST /api/v2/jobs/execute", STORED)
    reply = await sim.app.executions.execute(CALLER, AUTHOR, STORED, 0, theirs)
    assert reply.execution_id != mine
    elsewhere = call("key", {}, "/api/v2/jobs/job/run")
    with pytest.raises(IdempotencyKeyReused):
        await sim.app.executions.run(CALLER, AUTHOR, "job", {}, 0, elsewhere)
    with pytest.raises(IdempotencyKeyReused):
        await create(sim, "key")


async def test_a_call_that_was_refused_has_not_used_its_key(sim: Simulation) -> None:
    with pytest.raises(NotFound):
        await execute(sim, "key", {"job_id": "typo"})
    with pytest.raises(InvalidRequest):
        await execute(sim, "key", {"name": "no steps", "steps": []})
    await sim.create("job", {"id": "one"}, enabled=False)
    with pytest.raises(Conflict):
        await execute(sim, "key")
    with pytest.raises(Conflict):
        await create(sim, "key", {**INLINE, "id": "job"})
    assert await reservations(sim) == []
    await execute(sim, "key", {**STORED, "force": True})
    assert len(await reservations(sim)) == 1


async def test_a_job_that_was_deleted_is_not_made_again(sim: Simulation) -> None:
    job = {**INLINE, "id": "job"}
    for key, body in (("key", INLINE), ("named", job)):
        job_id = await create(sim, key, body)
        await sim.drop_job(job_id)
        with pytest.raises(Conflict) as refused:
            await create(sim, key, body)
        assert refused.value.code == "job_deleted"
    sim.clock.advance(1)
    await create(sim, "another-key", job)
    with pytest.raises(Conflict) as refused:  # what is there now is not what this key made
        await create(sim, "named", job)
    assert refused.value.code == "job_deleted"


async def test_a_job_that_somebody_else_made_meanwhile_is_not_taken_for_its_own(
    sim: Simulation,
) -> None:
    async def rival() -> None:
        sim.clock.advance(1)
        await sim.create("job", {"id": "one"})

    # The count is read between the look for the id and the transaction that makes the job.
    sim.wire.before("definitions put", rival)
    for _ in range(2):
        with pytest.raises(Conflict) as refused:
            await create(sim, "key", {**INLINE, "id": "job"})
        assert refused.value.code == "job_exists"


async def test_a_scheduled_job_is_answered_again_as_at_first_even_after_its_time(
    sim: Simulation,
) -> None:
    at = sim.clock.now() + timedelta(minutes=5)
    body = {"job": INLINE, "scheduled_time": at.isoformat()}
    once = call("key", body, "/api/v2/jobs/schedule")
    first = await sim.app.schedules.schedule(CALLER, AUTHOR, body, once)
    sim.job_ids.add(first.body["job_id"])
    again = await sim.app.schedules.schedule(CALLER, AUTHOR, body, once)
    await sim.run(minutes=10)
    late = await sim.app.schedules.schedule(CALLER, AUTHOR, body, once)
    assert first.body == again.body == late.body
    assert (first.replayed, again.replayed, late.replayed) == (False, True, True)
    assert await runs_of(sim) == [first.body["execution_id"]]


async def test_old_keys_go_as_new_ones_come(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    for number in range(SWEPT_AT_ONCE + 10):
        await sim.app.idempotency.reserve(call(f"old-{number}", {}), "id")
    sim.clock.advance(24 * 3_600 + 1)
    used_anew = await sim.app.idempotency.reserve(call("old-3", {}), "new")
    for number in range(2 * SWEEP_EVERY):
        await sim.app.idempotency.reserve(call(f"new-{number}", {}), "id")
    assert len(await reservations(sim)) == 1 + 2 * SWEEP_EVERY
    assert await sim.app.idempotency.find(call("old-3", {})) == used_anew
    rows = sim.storage.control.query(PARTITION, "time:", "time;")
    assert len([row async for row in rows]) == 1 + 2 * SWEEP_EVERY


@pytest.mark.parametrize("mode", [Mode.REFUSED, Mode.LOST, Mode.BUSY])
async def test_a_sweep_that_fails_keeps_no_call_from_its_work(sim: Simulation, mode: Mode) -> None:
    await sim.create("job", {"id": "one"})
    for kind in ("Control query", "Control batch"):
        word = kind.partition(" ")[2]
        await sim.app.idempotency.reserve(call(f"old-{word}", {}), "id")
        sim.clock.advance(24 * 3_600 + 1)
        await sim.restart()
        fault = sim.wire.arm(1, mode, lambda one, kind=kind: one == kind)  # type: ignore[misc]
        assert await execute(sim, f"key-{word}")
        assert fault.hit == kind


async def test_a_key_costs_two_operations_and_no_key_costs_none(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    await execute(sim, "first")  # the first one of an instance looks for old keys, too

    async def cost(once: Once | None) -> Counter[str]:
        before = sim.wire.counts.copy()
        await sim.app.executions.execute(CALLER, AUTHOR, STORED, 0, once)
        return sim.wire.counts - before

    plain, keyed, repeated = [
        await cost(one) for one in (None, call("k", STORED), call("k", STORED))
    ]
    assert keyed - plain == {"Control get": 1, "Control batch": 1}
    assert plain["Control get"] == 1  # the control word
    assert repeated.total() <= 4 and "Zones batch" not in repeated


async def test_neither_key_nor_body_nor_caller_is_stored(sim: Simulation) -> None:
    body = {**INLINE, "name": "salary-list"}
    await execute(sim, "my-secret-key", body)
    rows = [row async for row in sim.storage.control.query(PARTITION, "", "~")]
    assert rows
    for word in ("my-secret-key", "salary-list", f"'{AUTHOR.id}'"):
        assert word not in str(rows)
