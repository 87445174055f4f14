"""A step type that does what a test tells it to, attempt by attempt."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import EntryPoint
from typing import Any

from steps.contract import StepConfig, StepContext, StepFailed, StepResult, StepType
from steps.registry import GROUP, Registry
from tests.storage.wire import ManualClock

WORKER: ContextVar[asyncio.Task[None]] = ContextVar("worker")
"""The task that handles the message by which the step runs."""

type Act = Callable[["Script", StepContext], Awaitable[StepResult]]


@dataclass(frozen=True, slots=True)
class Ran:
    """One time that a step's code began to run."""

    execution_id: str
    step: str
    attempt: int
    at: datetime


@dataclass
class Script:
    """What the steps do, by step id: one act for each attempt, success when there is none left."""

    clock: ManualClock
    acts: dict[str, list[Act]] = field(default_factory=lambda: defaultdict(list))
    ran: list[Ran] = field(default_factory=list)
    held: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    busy: int = 0
    most_busy: int = 0

    async def play(self, context: StepContext) -> StepResult:
        """Runs one attempt."""
        ran = Ran(context.execution_id, context.step_id, context.attempt, self.clock.now())
        self.ran.append(ran)
        acts = self.acts[context.step_id]
        act = acts.pop(0) if acts else succeeds()
        self.busy += 1
        self.most_busy = max(self.most_busy, self.busy)
        try:
            return await act(self, context)
        finally:
            self.busy -= 1

    def times(self, execution_id: str, step: str) -> int:
        """How often a step of an execution began to run."""
        return sum(one.execution_id == execution_id and one.step == step for one in self.ran)

    def steps(self) -> list[str]:
        """The ids of the steps in the order in which they began."""
        return [one.step for one in self.ran]


def succeeds(output: Any = None) -> Act:  # noqa: ANN401
    """Succeeds at once."""

    async def act(script: Script, context: StepContext) -> StepResult:
        return StepResult(output)

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
    script: Script

    class Config(StepConfig):
        """It has a note, and no more."""

        note: str = ""

    async def run(self, config: Any, context: StepContext) -> StepResult:  # noqa: ANN401
        """Runs one attempt by the script."""
        return await self.script.play(context)


def scripted_registry(script: Script) -> Registry:
    """A registry whose only step type is `scripted`, playing this script."""
    source = EntryPoint("scripted", "tests.storage.scripted:ScriptedStep", GROUP)
    registry = Registry([source])
    step_type = registry.get("scripted")
    assert isinstance(step_type, ScriptedStep)
    step_type.script = script
    return registry
