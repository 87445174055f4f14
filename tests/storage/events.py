"""What may happen in a simulation, one thing at a time."""

import asyncio
from collections.abc import Awaitable, Callable

from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.rules.states import RunState
from scheduler.storage.queues import Received
from steps.contract import LeaseLost
from tests.storage.drawn_jobs import Gate
from tests.storage.moves import Moves
from tests.storage.promises import Promises
from tests.storage.simulation import Simulation
from tests.storage.wire import Killed, Mode

type Trouble = tuple[int, Mode]
"""The request that fails, counted from the next one, and how."""


class Events:
    """Messages that are handled, lost or doubled, timers, and what fails on the way.

    Messages are named by number, counted round and round: any may be handled before any other.
    """

    def __init__(self, sim: Simulation, moves: Moves, promises: Promises) -> None:
        self._sim = sim
        self._moves = moves
        self._promises = promises
        self._taken: dict[str, tuple[str, Received]] = {}

    async def _take(self, which: int) -> tuple[str, Received] | None:
        """A message that could be handled now; one not handled in time is in its queue again."""
        now, flying = self._sim.clock.now(), self._sim.wire.flying
        self._taken = {
            one: (queue, message)
            for one, (queue, message) in self._taken.items()
            if one in flying and flying[one].receipt == message.receipt and flying[one].at > now
        }
        for queue, message in await self._sim.host.take(self._sim.app):
            self._taken[message.id] = (queue, message)
        ids = list(self._taken)
        return self._taken.pop(ids[which % len(ids)]) if ids else None

    async def handle(self, which: int) -> bool:
        """Handles a message; False when there is none."""
        if (taken := await self._take(which)) is None:
            return False
        queue, message = taken
        self._moves.note(f"handled, {message.dequeue_count}: {message.text[:120]}")
        await self._sim.host.hand_over(self._sim.app, queue, message)
        await self._sim.replace_if_dead()
        return True

    async def lose(self, which: int) -> None:
        """Removes a message that nobody has handled."""
        if taken := await self._take(which):
            self._moves.note(f"lost: {taken[1].text[:120]}")
            await self._sim.storage.queues.delete(*taken)

    async def duplicate(self, which: int, seconds: int) -> None:
        """Sends a message once more, to be seen so much later."""
        if taken := await self._take(which):
            queue, message = taken
            self._taken[message.id] = taken
            self._moves.note(f"doubled: {message.text[:120]}")
            await self._sim.storage.queues.send(queue, message.text, delay_seconds=seconds)

    async def timer(self, kind: str) -> None:
        """Lets the tick come, if somebody awaits one, or upkeep."""
        runs = self._moves.runs
        awaited = any(run.state is RunState.RETRYING for run in runs.values())
        if kind == "tick" and (awaited or self._promises.coming.keys() - runs.keys()):
            self._moves.note("tick")
            await self._sim.app.run_tick()
        else:  # The many queries of a tick would find nothing.
            self._moves.note("upkeep")
            await self._sim.app.run_upkeep()

    async def in_trouble(self, trouble: Trouble, work: Callable[[], Awaitable[object]]) -> None:
        """Does something of which a request fails, or is the last of the process."""
        fault = self._sim.wire.arm(*trouble)
        try:
            await work()
        except (StorageUnavailable, ConflictingWrite, Killed) as error:
            self._moves.note(f"the caller got {error!r}")
        self._sim.wire.fault = None
        self._moves.note(f"{fault.mode}, the {fault.at}th: {fault.hit}")
        await self._sim.replace_if_dead()

    async def renew(self, gate: Gate) -> None:
        """Renews the lease of a step that is held; it ends when it has to."""
        try:
            await gate.context.confirm()
        except LeaseLost as error:
            self._moves.note(f"{gate.context.execution_id}: {error}")
            async with asyncio.timeout(10):
                while gate.waits:
                    await asyncio.sleep(0)
        await self._sim.host.settled()
