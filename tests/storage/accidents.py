"""What befalls runs: workers that die, starts that nobody takes, clocks that are slow."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime

from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.messages import Message, MessageKind
from scheduler.errors import StorageUnavailable
from scheduler.storage.tables import Upsert, Value
from steps.contract import StepContext
from tests.storage.scripted import Act, Ended, Script
from tests.storage.simulation import Simulation
from tests.storage.wire import Fault, Killed, ManualClock, Mode

PATIENCE_SECONDS = 20
PAUSES = (61, 121, 241, 481, 901)
"""Seconds after which upkeep sends a start again that nobody takes; half an hour in all."""


async def until(holds: Callable[[], object]) -> None:
    """Waits until it holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not holds():
            await asyncio.sleep(0.01)


async def at_rest(sim: Simulation) -> None:
    """Lets everything be handled that can be handled at this instant."""
    while await sim.deliver():
        pass


def dies_before(sim: Simulation, kind: str, act: Act) -> Act:
    """Does as another act; then the workers die, right before the app's next request of a kind."""

    async def dying(script: Script, context: StepContext) -> Ended:
        sim.wire.before(kind, sim.host.kill_workers)
        return await act(script, context)

    return dying


async def nobody_takes_messages(sim: Simulation) -> None:
    """Lets half an hour pass, and loses what upkeep sends meanwhile."""
    for pause in PAUSES:
        await sim.host.lose_messages()
        await sim.be_down(seconds=pause)
        await sim.app.upkeep.run()
    await sim.host.lose_messages()


async def upkeep_after(sim: Simulation, *, seconds: float) -> None:
    """Lets time pass in which nothing happens; then upkeep runs, and what it sends is handled."""
    await sim.be_down(seconds=seconds)
    await sim.app.upkeep.run()
    await at_rest(sim)


async def send_start(sim: Simulation, execution_id: str) -> None:
    """Sends a start once more, as upkeep and a hand-over do."""
    message = Message(kind=MessageKind.START, execution_id=ExecutionId(execution_id))
    await sim.app.dispatcher.send("UTC", message)


async def put(sim: Simulation, key: str, values: dict[str, Value]) -> None:
    """Writes columns of a row of the zone UTC."""
    await sim.storage.zones.commit(sim.app.dispatcher.queue_of("UTC"), [Upsert(key, values)])


def forgive(sim: Simulation) -> list[BaseException]:
    """The errors of our own that the test was about; nobody complains of them any more."""
    crashes = list(sim.host.crashes)
    sim.host.crashes.clear()
    sim.failures.clear()
    return crashes


class SlowClock:
    """A clock that moves on whenever it is looked at: all that is done takes its time."""

    def __init__(self, clock: ManualClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def now(self) -> datetime:
        """The simulated instant; the next one is later."""
        self._clock.advance(self._seconds)
        return self._clock.now()

    async def sleep(self, seconds: float) -> None:
        """Moves the clock on."""
        self._clock.advance(seconds)


async def broken_off(sim: Simulation, place: int, mode: Mode, call: Awaitable[object]) -> Fault:
    """Makes a call one of whose requests is broken; an instance that dies of it is replaced."""
    fault = sim.wire.arm(place, mode)
    try:
        await call
    except StorageUnavailable:
        pass
    except Killed:
        await sim.kill()
    sim.wire.fault = None
    return fault
