"""A step type that waits for outside work, and leaves each look at it in a database."""

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pyodbc
from pydantic import Field

from chaos.effects import LEAVE_LOOK, LookKind
from steps.contract import DEFERRABLE, Pending, StepConfig, StepContext, StepResult, StepType

_CONNECT_SECONDS = 15


class WaitingConfig(StepConfig):
    """How often it waits, for how long each time, and how long a look takes (seconds)."""

    connection_name: str
    waits: int = Field(ge=1)
    check_in_seconds: float = Field(ge=0)
    look_seconds: float = Field(ge=0)


class WaitingStep(StepType):
    """Leaves a row of each look. The state is the tokens of all looks so far, one for each.

    So each row tells of which looks its own knew. That of the last look is the step's effect.
    """

    type = "waiting"
    title = "Waiting"
    description = "Waits, looks and waits again, and leaves a row of each look"
    capabilities = frozenset({DEFERRABLE})
    Config = WaitingConfig

    async def run(self, config: WaitingConfig, context: StepContext) -> StepResult | Pending:
        """Takes one look."""
        seen: list[str] = context.state or []
        last = len(seen) == config.waits
        row = _Row(LookKind.LAST if last else LookKind.LOOK, seen, config.look_seconds)
        await _leave(row, config, context)
        if last:
            return StepResult(output=seen)
        return Pending(config.check_in_seconds, state=[*seen, row.token])

    async def stop(self, config: WaitingConfig, context: StepContext) -> None:
        """Leaves a row that its outside work was to end."""
        await _leave(_Row(LookKind.STOP, context.state or [], 0), config, context)


class _Row:
    """One row, with a token of its own; its transaction takes so many seconds."""

    def __init__(self, kind: LookKind, seen: list[str], seconds: float) -> None:
        self.kind = kind
        self.seen = seen
        self.seconds = seconds
        self.token = secrets.token_hex(4)

    def parameters(self, context: StepContext) -> tuple[str | int | float, ...]:
        """Those of `LEAVE_LOOK`."""
        attempt = (context.execution_id, context.step_id, context.attempt)
        return (*attempt, self.kind.value, self.token, " ".join(self.seen), self.seconds)


async def _leave(row: _Row, config: WaitingConfig, context: StepContext) -> None:
    """Commits the row, if the attempt still counts right before."""
    text = context.connection(config.connection_name)
    connection = await _in_thread(lambda: pyodbc.connect(text, timeout=_CONNECT_SECONDS))
    try:
        await _in_thread(lambda: connection.execute(LEAVE_LOOK, row.parameters(context)).fetchall())
        if row.kind is not LookKind.STOP:
            await context.confirm()
        # What has been committed counts, though the attempt was to stop meanwhile.
        with suppress(asyncio.CancelledError):
            await _in_thread(connection.commit)
    finally:
        await _in_thread(connection.close)


async def _in_thread(work: Callable[[], Any]) -> Any:  # noqa: ANN401
    """The result of work in a thread, which has come to its end even when this is cancelled."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
