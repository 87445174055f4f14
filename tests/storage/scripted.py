"""A step type that does what a test tells it to, attempt by attempt."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import datetime
from importlib.metadata import EntryPoint
from typing import Any, ClassVar

from steps.contract import (
    DEFERRABLE,
    Pending,
    StepConfig,
    StepContext,
    StepFailed,
    StepResult,
    StepType,
)
from steps.registry import GROUP, Registry
from tests.storage.wire import ManualClock

WORKER: ContextVar[asyncio.Task[None]] = ContextVar("worker")
"""The task that handles the message by which the step runs."""

type Ended = StepResult | Pending
"""What an act that does not fail comes to."""
type Act = Callable[["Script", StepContext], Awaitable[Ended]]


@dataclass(frozen=True, slots=True)
class Ran:
    """One time that a step's code began to run."""

    execution_id: str
    step: str
    attempt: int
    at: datetime
    state: Any = None
    parameters: object = None


@dataclass
class Script:
    """What the steps do, by step id: one act for each attempt or look of one, success when there is
    none left. `stops`: what they do to end the outside work that they wait for; nothing by default.
    """

    clock: ManualClock
    acts: dict[str, list[Act]] = field(default_factory=lambda: defaultdict(list))
    stops: dict[str, list[Act]] = field(default_factory=lambda: defaultdict(list))
    ran: list[Ran] = field(default_factory=list)
    stopped: list[Ran] = field(default_factory=list)
    held: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    busy: int = 0
    most_busy: int = 0

    async def play(self, context: StepContext, parameters: object = None) -> Ended:
        """Runs one attempt, or one look of it."""
        self.ran.append(replace(self._noted(context), parameters=parameters))
        acts = self.acts[context.step_id]
        act = acts.pop(0) if acts else succeeds()
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            return await act(self, context)
        finally:
            self.busy -= 1

    async def stop(self, context: StepContext) -> None:
        """Ends what an attempt waits for."""
        self.stopped.append(self._noted(context))
        acts = self.stops[context.step_id]
        await (acts.pop(0) if acts else succeeds())(self, context)

    def _noted(self, context: StepContext) -> Ran:
        return Ran(
            context.execution_id, context.step_id, context.attempt, self.clock.now(), context.state
        )

    def times(self, execution_id: str, step: str) -> int:
        """How often a step of an execution began to run; looks of one that waits do not count."""
        begun = [one for one in self.ran if one.state is None]
        return sum(one.execution_id == execution_id and one.step == step for one in begun)

    def steps(self) -> list[str]:
        """The ids of the steps in the order in which they began."""
        return [one.step for one in self.ran]


def succeeds(output: Any = None, **values: Any) -> Act:  # noqa: ANN401
    """Succeeds at once; `values` are what it may publish."""

    async def act(script: Script, context: StepContext) -> StepResult:
        return StepResult(output, values=values)

    return act


def waits(seconds: float, state: Any = None) -> Act:  # noqa: ANN401
    """Waits for outside work, and looks again after so many seconds."""

    async def act(script: Script, context: StepContext) -> Pending:
        return Pending(seconds, state)

    return act


def takes(seconds: float) -> Act:
    """Succeeds when the clock has moved on by so much."""

    async def act(script: Script, context: StepContext) -> StepResult:
        script.clock.advance(seconds)
        return StepResult()

    return act


def fails(code: str = "broken", *, retryable: bool = True, retry_after: float | None = None) -> Act:
    """Fails at once."""

    async def act(script: Script, context: StepContext) -> StepResult:
        raise StepFailed(
            code, f"{code} by the script", retryable=retryable, retry_after=retry_after
        )

    return act


def crashes() -> Act:
    """Fails with an error that no step should raise."""

    async def act(script: Script, context: StepContext) -> StepResult:
        raise ZeroDivisionError("a bug of the step type")

    return act


def dies() -> Act:
    """Takes the worker down in the middle of the step: nothing more is written."""

    async def act(script: Script, context: StepContext) -> StepResult:
        WORKER.get().cancel()
        await asyncio.Event().wait()
        return StepResult()

    return act


class Hold:
    """An act that goes on when the test lets it; the simulation does not wait for it."""

    def __init__(self) -> None:
        self._gate = asyncio.Event()
        self._script: Script | None = None

    async def __call__(self, script: Script, context: StepContext) -> StepResult:
        """Waits, then succeeds."""
        if self._gate.is_set():
            return StepResult()
        self._script = script
        script.held += 1
        script.changed.set()
        try:
            await self._gate.wait()
        except asyncio.CancelledError:
            self.release()
            raise
        return StepResult()

    def release(self) -> None:
        """Lets the step go on."""
        if self._script is not None and not self._gate.is_set():
            self._script.held -= 1
            self._script.changed.set()
        self._gate.set()


class ScriptedStep(StepType):
    """The step type `scripted`."""

    type = "scripted"
    title = "Scripted"
    description = "Does what the test's script says"
    capabilities = frozenset({DEFERRABLE})
    script: Script

    class Config(StepConfig):
        """It has a note and parameters, and no more."""

        TEMPLATED: ClassVar[frozenset[str]] = frozenset({"parameters"})

        note: str = ""
        parameters: Any = None

    async def run(self, config: Any, context: StepContext) -> Ended:  # noqa: ANN401
        """Runs one attempt, or one look of it, by the script."""
        return await self.script.play(context, config.parameters)

    async def stop(self, config: Any, context: StepContext) -> None:  # noqa: ANN401
        """Ends what the attempt waits for, by the script."""
        await self.script.stop(context)


def scripted_registry(script: Script) -> Registry:
    """A registry whose only step type is `scripted`, playing this script."""
    source = EntryPoint("scripted", "tests.storage.scripted:ScriptedStep", GROUP)
    registry = Registry([source])
    step_type = registry.get("scripted")
    assert isinstance(step_type, ScriptedStep)
    step_type.script = script
    return registry
