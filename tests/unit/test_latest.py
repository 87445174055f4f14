"""What a process knows of executions: writes count, old replies do not, and turns are taken."""

import asyncio

import pytest

from scheduler.dispatch.ids import ExecutionId
from scheduler.execution import latest as module
from scheduler.execution.latest import Latest

ONE, OTHER = ExecutionId("job.20270314T063000Z"), ExecutionId("job.20270314T063100Z")


def test_what_was_read_does_not_take_the_place_of_what_is_known() -> None:
    known = Latest[str]()
    assert known.get(ONE) is None
    known.read(ONE, "read")
    known.wrote(ONE, "written")
    known.read(ONE, "an old reply")
    assert (known.get(ONE), known.get(OTHER)) == ("written", None)
    known.is_old(ONE)
    assert known.get(ONE) is None
    known.read(ONE, "read again")
    assert known.get(ONE) == "read again"
    known.forget(ONE)
    assert known.get(ONE) is None


def test_of_many_executions_the_last_are_known() -> None:
    known = Latest[int]()
    for number in range(600):
        known.wrote(ExecutionId(f"job-{number}"), number)
    assert known.get(ExecutionId("job-0")) is None
    assert known.get(ExecutionId("job-599")) == 599


async def test_turns_on_one_execution_come_one_after_the_other() -> None:
    known, story = Latest[str](), list[str]()

    async def change(name: str, execution_id: ExecutionId) -> None:
        async with known.turn(execution_id):
            story.append(f"{name} begins")
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            story.append(f"{name} ends")

    await asyncio.gather(change("a", ONE), change("b", ONE))
    assert story in (
        ["a begins", "a ends", "b begins", "b ends"],
        ["b begins", "b ends", "a begins", "a ends"],
    )
    story.clear()
    await asyncio.gather(change("a", ONE), change("b", OTHER))
    assert {story[0], story[1]} == {"a begins", "b begins"}


async def test_who_is_stuck_holds_nobody_up_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST_TURN_SECONDS", 0.05)
    known, stuck = Latest[str](), asyncio.Event()

    async def hang() -> None:
        async with known.turn(ONE):
            await stuck.wait()

    hanging = asyncio.create_task(hang())
    await asyncio.sleep(0)
    async with known.turn(ONE):
        known.wrote(ONE, "by the other")
    known.forget(ONE)
    assert known.get(ONE) == "by the other"
    stuck.set()
    await hanging
    known.forget(ONE)
    assert known.get(ONE) is None


async def test_a_turn_that_fails_or_is_given_up_lets_the_next_one_in() -> None:
    known = Latest[str]()
    with pytest.raises(ZeroDivisionError):
        async with known.turn(ONE):
            raise ZeroDivisionError
    async with known.turn(ONE):
        waiting = asyncio.create_task(known.turn(ONE).__aenter__())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
    async with asyncio.timeout(1), known.turn(ONE):
        pass
