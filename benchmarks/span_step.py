"""A step type that takes a while, and writes down when each attempt began and ended."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field

from steps.contract import StepConfig, StepContext, StepResult, StepType

FILE = "BENCHMARK_SPANS"
"""The environment variable with the path of the file."""


class SpanConfig(StepConfig):
    """How long the first attempt takes, and how long those after it."""

    seconds: float = Field(ge=0)
    again_seconds: float = Field(ge=0)


class SpanStep(StepType):
    """Appends a line when an attempt begins and one when it ends: several hosts may write."""

    type = "span"
    title = "Span"
    description = "Takes a while, and writes down when"
    Config = SpanConfig

    async def run(self, config: SpanConfig, context: StepContext) -> StepResult:
        """Takes its time."""
        _write("begin", context)
        await asyncio.sleep(config.seconds if context.attempt == 1 else config.again_seconds)
        _write("end", context)
        return StepResult()


def _write(word: str, context: StepContext) -> None:
    now = datetime.now(UTC).isoformat()
    line = f"{word} {context.execution_id} {context.attempt} {os.getpid()} {now}\n"
    descriptor = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@dataclass
class Span:
    """The attempts of one execution: number → process id and instant of each beginning, end."""

    begun: dict[int, list[tuple[int, datetime]]] = field(default_factory=lambda: defaultdict(list))
    ended: dict[int, datetime] = field(default_factory=dict)

    @property
    def start(self) -> datetime:
        """When its first attempt began."""
        return min(at for attempts in self.begun.values() for _, at in attempts)

    @property
    def end(self) -> datetime | None:
        """When its last attempt ended; None while one runs, or its worker is dead."""
        return self.ended.get(max(self.begun))


def read_spans(path: Path) -> Mapping[str, Span]:
    """What is written so far, by execution id."""
    spans: dict[str, Span] = defaultdict(Span)
    text = path.read_text("utf-8") if path.exists() else ""
    for line in text.splitlines():
        word, execution_id, attempt, process, at = line.split()
        instant = datetime.fromisoformat(at)
        if word == "begin":
            spans[execution_id].begun[int(attempt)].append((int(process), instant))
        else:
            spans[execution_id].ended[int(attempt)] = instant
    return spans
