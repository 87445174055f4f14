"""Minutes in which more falls due than one tick takes, and ticks that come late."""

from datetime import timedelta
from itertools import count, islice

import pytest

from scheduler.dispatch.ids import shard_of
from scheduler.dispatch.messages import MessageKind, decode
from scheduler.dispatch.queue_names import relay_queue_name
from scheduler.schedule import tick as tick_module
from scheduler.schedule.heartbeat import Beat, lateness
from tests.storage.simulation import START, Simulation

DUE = {"type": "once", "expression": "2026-11-23T02:05:00Z"}


def jobs_of_shards(shards: str, each: int) -> list[str]:
    """Job ids, so many for each of some shards."""
    return [
        job_id
        for shard in shards
        for job_id in islice((f"j{n}" for n in count() if shard_of(f"j{n}") == shard), each)
    ]


@pytest.fixture
async def full(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> Simulation:
    """22 jobs of three shards that are due at 02:05, where a round takes three of a shard."""
    monkeypatch.setattr(tick_module, "ROWS_A_ROUND", 3)
    monkeypatch.setattr(tick_module, "ROUNDS_HANDED_ON", 2)
    for job_id in [*jobs_of_shards("03", 2), *jobs_of_shards("af", 9)]:
        await sim.create(job_id, {"id": "one"}, schedule=DUE)
    await sim.run(START.replace(minute=2, second=59))
    sim.clock.move_to(START.replace(minute=3, second=10))
    return sim


async def relayed(sim: Simulation) -> list[str]:
    """The shards that the messages in the relay queue name, which are taken out of it."""
    received = await sim.storage.queues.receive(
        relay_queue_name(sim.settings.name), hidden_seconds=1, limit=32
    )
    messages = [decode(one.text) for one in received]
    return sorted(one.shard or "" for one in messages if one.kind is MessageKind.TICK)


async def test_a_tick_takes_its_share_and_hands_the_full_shards_on(full: Simulation) -> None:
    assert await full.app.tick.run() == 2 + 2 + 3 + 3
    assert await relayed(full) == ["a", "f"]


async def test_whoever_takes_a_shard_over_hands_on_what_is_still_left(full: Simulation) -> None:
    await full.app.tick.run()
    await relayed(full)
    assert await full.app.tick.go_on("a") == 6
    assert await relayed(full) == ["a"]
    assert await full.app.tick.go_on("a") == 0
    assert await relayed(full) == []


async def test_all_of_a_full_minute_runs_once_and_in_its_second(full: Simulation) -> None:
    await full.run()
    assert len({one.execution_id for one in full.script.ran}) == 22
    assert {one.at for one in full.script.ran} == {START.replace(minute=5, second=0)}
    assert len(full.script.ran) == 22
    await full.assert_nothing_left()


async def test_a_message_that_hands_on_and_is_lost_is_made_up_for_by_the_next_tick(
    full: Simulation,
) -> None:
    await full.app.tick.run()
    await full.host.lose_messages("relay")
    await full.run()
    assert len(full.script.ran) == len({one.execution_id for one in full.script.ran}) == 22
    await full.assert_nothing_left()


@pytest.mark.parametrize(
    ("last", "began", "late"),
    [
        (None, 0.2, 0.2),
        (-60, 0.2, 0.2),
        (-59, 3.0, 3.0),
        (-180, 0.5, 120.5),
        (-30, 0.5, 0.5),
    ],
)
def test_a_tick_is_late_by_the_first_minute_that_nobody_ticked(
    last: float | None, began: float, late: float
) -> None:
    minute = START.replace(second=0)
    beat = None if last is None else Beat(minute + timedelta(seconds=last), 0, 0.1)
    assert lateness(minute + timedelta(seconds=began), beat) == pytest.approx(late)


async def test_a_late_tick_says_how_late_it_is(
    sim: Simulation, caplog: pytest.LogCaptureFixture
) -> None:
    sim.clock.move_to(START.replace(minute=1, second=0))
    await sim.app.run_tick()
    sim.clock.move_to(START.replace(minute=4, second=1))
    with caplog.at_level("INFO", "scheduler"):
        await sim.app.run_tick()
    (record,) = [one for one in caplog.records if getattr(one, "action", "") == "tick_done"]
    assert record.__dict__["lateness_seconds"] == 121
    beat = await sim.app.heartbeat.last()
    assert beat is not None
    assert beat.lateness_seconds == 121
