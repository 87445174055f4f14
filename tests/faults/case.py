"""One play of a scenario: its jobs and executions, and what its caller was told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from scheduler.dispatch.ids import scheduled_id
from scheduler.dispatch.messages import Message
from scheduler.errors import NotFound, StorageUnavailable
from steps.contract import StepContext
from tests.storage.scripted import WORKER, Act, Ended, Hold, Script, succeeds
from tests.storage.simulation import AUTHOR, CALLER, Simulation
from tests.storage.wire import Killed

DUE_IN = timedelta(seconds=130)
LEASE_AND_SKEW_SECONDS = 90
_CALLS = 5
"""So often a caller repeats a call that failed."""
_DEADLINE_SECONDS = 20
_YEARLY = {"type": "cron", "expression": "0 0 1 1 *"}

type Step = dict[str, Any]

ONE: Step = {"id": "one"}
TWO: Step = {"id": "two"}
THREE: Step = {"id": "three"}
SIDES: tuple[Step, ...] = tuple({"id": name, "depends_on": []} for name in ("left", "right"))
JOIN: Step = {"id": "join", "depends_on": ["left", "right"]}
TIDY: Step = {"id": "tidy", "run_if": "always"}
WAIT: Step = {"id": "wait", "timeout": 3_600}
WIDE: tuple[Step, ...] = tuple({"id": f"wide{place}", "depends_on": []} for place in range(10))
WIDE_JOIN: Step = {"id": "join", "depends_on": [step["id"] for step in WIDE]}
STEPS = ("one", "two", "three", "left", "right", "join", "tidy", "wait")


@dataclass(frozen=True)
class Reply:
    """What a cancel answered, and how many steps had begun to run by then."""

    body: dict[str, Any]
    begun: int


class Case:
    """A scenario's hands: it makes jobs, lets messages be handled, calls the API.

    `deaths` counts the workers that the scenario itself lets die.
    """

    def __init__(self, sim: Simulation, name: str, *, repeats: bool = True) -> None:
        self.sim = sim
        self.name = name
        self.repeats = repeats
        self.executions: list[str] = []
        self.job_ids: list[str] = []
        self.replies: dict[str, Reply] = {}
        self.cancelled: set[str] = set()
        self.deaths = 0
        self._stored: list[str] = []
        self._holds: list[Hold] = []
        self._others: asyncio.Task[None] | None = None
        self._release: asyncio.Task[None] | None = None
        self._timezone = "UTC"

    def script(self, step: str, *acts: Act) -> None:
        """What the next attempts of a step do; later ones succeed."""
        self.sim.script.acts[step] = list(acts)

    def hold(self, step: str) -> Hold:
        """Holds the next attempt of a step."""
        hold = Hold()
        self.script(step, hold)
        return hold

    def hold_all(self) -> None:
        """Holds the next attempt of every step."""
        for step in STEPS:
            acts = self.sim.script.acts[step]
            hold, act = Hold(), acts.pop(0) if acts else succeeds()
            acts.insert(0, _after(hold, act))
            self._holds.append(hold)

    def release_later(self) -> None:
        """Lets them go once the request at hand, and all that follow from it, are done."""
        self._release = asyncio.create_task(self._release_all())

    async def _release_all(self) -> None:
        await self.sim.wire.quiet()
        for hold in self._holds:
            hold.release()

    def _new_id(self) -> str:
        self.job_ids.append(f"{self.name}-{len(self.job_ids) + 1}")
        return self.job_ids[-1]

    async def execute(self, *steps: Step, **fields: Any) -> str:  # noqa: ANN401
        """Asks for a run of a job of its own."""
        self._timezone = fields.get("timezone", self._timezone)
        self.executions.append(await self.sim.execute(self._new_id(), *steps, **fields))
        return self.executions[-1]

    async def store(self, *steps: Step, **schedule: Any) -> str:  # noqa: ANN401
        """Stores a job that does not come due meanwhile."""
        job_id = await self.sim.create(self._new_id(), *steps, schedule={**_YEARLY, **schedule})
        self._stored.append(job_id)
        return job_id

    async def start(self, job_id: str) -> str:
        """Asks for a run of a stored job."""
        self.executions.append(await self.sim.execute(job_id))
        return self.executions[-1]

    async def ask_for(self, job_id: str) -> None:
        """Asks for a run of a stored job once, as a caller who does not mind an error."""
        await self.unless_broken(self.start(job_id))

    async def schedule(self, *steps: Step, **fields: Any) -> str:  # noqa: ANN401
        """Stores a job that runs once, in two minutes; returns the id of the run."""
        due = (self.sim.clock.now() + DUE_IN).replace(microsecond=0)
        once = {"type": "once", "expression": due.isoformat()}
        job_id = await self.sim.create(self._new_id(), *steps, schedule=once, **fields)
        self.executions.append(scheduled_id(job_id, due))
        await self.pass_time(15)
        return self.executions[-1]

    async def announce(self) -> None:
        """Lets the tick announce the scheduled run, and time pass until it is due."""
        due = self.sim.clock.now() + DUE_IN - timedelta(seconds=15)
        await self.unless_broken(self.sim.app.tick.run())
        await self.pass_time((due - self.sim.clock.now()).total_seconds())

    async def say(self, state: str) -> None:
        """Sets the control word."""
        await self.sim.app.controls.write(CALLER, {"state": state})

    async def pass_time(self, seconds: float) -> None:
        """Lets time pass in which nothing is done."""
        await self.sim.be_down(seconds=seconds)

    async def deliver(self) -> None:
        """Lets the host handle what is visible, once."""
        await self.sim.deliver()

    async def go_on(self) -> None:
        """Lets the host handle what is visible, until nothing is."""
        while await self.sim.deliver():
            pass

    async def send_copy(self, message: Message) -> None:
        """Handles a message that came by some other way, as its first delivery."""
        queue = self.sim.app.dispatcher.queue_of(self._timezone)
        await self.sim.app.engine.handle(queue, message.encode(), 1)

    async def die(self, step: str, act: Act) -> None:
        """Lets the worker of a step's next attempt die, and its lease run out."""
        self.script(step, act)
        self.deaths += 1
        await self.go_on()
        await self.pass_time(LEASE_AND_SKEW_SECONDS + 1)

    async def unless_broken(self, call: Awaitable[object]) -> bool:
        """Makes a call that may fail for storage, or take its instance down; whether it did not."""
        try:
            await call
        except StorageUnavailable as error:
            self.sim.host.faults.append(error.message)
            return False
        except Killed:
            await self.sim.kill()
            return False
        return True

    async def cancel(self, execution_id: str) -> None:
        """Cancels through the API, again for as long as the caller is told that it failed.

        One that does not repeat its calls makes one.
        """
        for _ in range(_CALLS if self.repeats else 1):
            if await self.unless_broken(self._cancel(execution_id)):
                return

    async def _cancel(self, execution_id: str) -> None:
        self.cancelled.add(execution_id)
        executions = self.sim.app.executions
        try:
            reply = await executions.cancel(CALLER, AUTHOR, execution_id, {}, 0)
        except NotFound:
            return
        self.replies[execution_id] = Reply(reply.body, len(self.sim.script.ran))

    async def stop(self, hold: Hold, execution_id: str) -> None:
        """Cancels an execution whose step is held, and waits until the step has stopped."""
        await self.cancel(execution_id)
        async with self.unbroken():
            await self.sim.wire.quiet()  # a renewal beside the cancel may have been broken, too
            await self.sim.replace_if_dead()
            body = await self.sim.read(execution_id)
        if body.get("cancel") is None:
            hold.release()
        async with asyncio.timeout(_DEADLINE_SECONDS):
            while self.sim.host.workers:
                await self.sim.deliver()
                await asyncio.sleep(0.005)

    async def meddle(self, others: Callable[["Case"], Awaitable[object]]) -> None:
        """Lets others do something while a request is about to be sent, be it of a worker.

        They go on though the request is given up meanwhile, as a renewal of a lease is.
        """
        self._others = asyncio.create_task(self._meanwhile(others))
        await asyncio.shield(self._others)

    async def _meanwhile(self, others: Callable[["Case"], Awaitable[object]]) -> None:
        script, is_worker = self.sim.script, WORKER.get(None) is not None
        script.held += is_worker  # the host is not to wait for it
        try:
            await self.unless_broken(others(self))
        finally:
            script.held -= is_worker

    @asynccontextmanager
    async def unbroken(self) -> AsyncIterator[None]:
        """Requests of the test itself, which are not broken."""
        fault, self.sim.wire.fault = self.sim.wire.fault, None
        try:
            yield
        finally:
            self.sim.wire.fault = fault

    async def end(self) -> None:
        """Lets time pass until nothing is left to do."""
        async with self.unbroken():
            for job_id in self._stored:
                await self.sim.drop_job(job_id)
        await self.sim.run()
        if self._others is not None and not self._others.done():
            await self._others
            await self.sim.run()
        await self.sim.wire.quiet()
        self.sim.wire.fault = None
        if self._release is not None:
            await self._release


def _after(hold: Hold, act: Act) -> Act:
    async def held(script: Script, context: StepContext) -> Ended:
        await hold(script, context)
        return await act(script, context)

    return held
