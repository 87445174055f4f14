"""Runs single attempts of `sql` steps, as the engine would."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from logging import LoggerAdapter, getLogger
from typing import Any

import pytest

from steps.contract import StepFailed, StepResult
from steps.sql import SqlStep


class Context:
    """What the engine hands to an attempt, with connections given by the test."""

    execution_id = "job.20260102T030405Z"
    job_id = "job"
    step_id = "step_1"
    attempt = 1
    timezone = "UTC"
    grace_seconds = 1.0
    state: Any = None

    def __init__(self, connections: dict[str, str]) -> None:
        self.connections = connections
        self.logger: LoggerAdapter[Any] = LoggerAdapter(getLogger("tests.sql"))
        self.deadline = datetime.now(UTC) + timedelta(minutes=5)
        self.cancelled = asyncio.Event()
        self.confirmations = 0
        self.on_confirm: Callable[[], Awaitable[None]] | None = None

    def connection(self, name: str) -> str:
        """The connection string of a name."""
        if name not in self.connections:
            raise StepFailed("connection_not_found", f"no connection {name!r}", retryable=False)
        return self.connections[name]

    async def confirm(self) -> None:
        """Counts, then does what the test wants to happen at this moment."""
        self.confirmations += 1
        if self.on_confirm is not None:
            await self.on_confirm()


class Bench:
    """Runs `sql` steps on the connection `default`."""

    def __init__(self, step: SqlStep, connection_string: str) -> None:
        self.step = step
        self.context = Context({"default": connection_string})

    async def run(self, query: str, **fields: Any) -> StepResult:  # noqa: ANN401
        """One attempt with these configuration fields."""
        config = self.step.Config.model_validate({"query": query, **fields})
        return await self.step.run(config, self.context)

    async def rows(self, query: str, **fields: Any) -> list[list[Any]]:  # noqa: ANN401
        """The values of a query's rows."""
        result = await self.run(query, **fields)
        return [list(row.values()) for row in result.output["rows"]]

    async def fails(self, query: str, **fields: Any) -> StepFailed:  # noqa: ANN401
        """The failure that a query ends in."""
        with pytest.raises(StepFailed) as caught:
            await self.run(query, **fields)
        return caught.value
