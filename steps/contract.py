"""The contract between the scheduler and a step type: all that its author needs to know.

A step type is a class with `type`, `title`, `description`, a `Config` model and `async run`:

    class Greet(StepType):
        type = "greet"
        title = "Greet"
        description = "Says hello"

        class Config(StepConfig):
            name: str

        async def run(self, config: StepConfig, context: StepContext) -> StepResult:
            ...
"""

import asyncio
import builtins
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from logging import LoggerAdapter
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

DEFERRABLE = "deferrable"
"""The capability of a type whose `run` may return `Pending`."""
MAX_STATE_BYTES = 16 * 1024
"""Of what `Pending` leaves for the next look, as JSON in UTF-8."""


class StepConfig(BaseModel):
    """Base of every step type's configuration: no unknown fields, no coerced values."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    TEMPLATED: ClassVar[frozenset[str]] = frozenset()
    """Names of the fields in which `{{…}}` is rendered before a run; elsewhere it is refused."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a successful attempt leaves behind.

    `output` is any JSON value; `metadata` a JSON object of small facts (row counts, exit code);
    `values` the JSON scalars that a job may `publish` by name.
    """

    output: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pending:
    """The attempt waits for outside work, and no worker with it: look again in so many seconds.

    `state` is any JSON value up to 16 KiB: the next look finds it as `context.state`. `metadata` is
    shown while it waits. The step's `timeout` counts over all looks.
    """

    check_in_seconds: float
    state: Any = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


class StepFailed(Exception):
    """The attempt failed for a reason that its reader can act on.

    `code` is stable and listed in `docs/errors.md`; `retryable=False` ends the step at once;
    `retry_after` (seconds) replaces the computed delay; `metadata` is kept with the attempt.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        retryable: bool = True,
        retry_after: float | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})


class LeaseLost(Exception):
    """This attempt is no longer the one that counts: undo what can be undone, and return."""


class NotStopped(Exception):
    """The attempt was told to stop, and its outside work did not within the grace it was given.

    Its text says what is known of what it did: it ends the sentence that the execution shows.
    """


class StepContext(Protocol):
    """What an attempt is told, and what it may ask for. Nothing of any other step is in reach."""

    execution_id: str
    job_id: str
    step_id: str
    attempt: int
    timezone: str
    deadline: datetime
    """When the attempt times out; aware, UTC."""
    state: Any
    """What the last `Pending` of this attempt left, a JSON value; None when it begins."""
    grace_seconds: float
    """How long the outside work may take to stop; whoever takes twice this is not waited for."""
    logger: LoggerAdapter[Any]
    cancelled: asyncio.Event
    """Set when the attempt has to end early: time is up, it was cancelled, its lease is lost."""

    def connection(self, name: str) -> str:
        """The ODBC connection string of the named connection.

        Raises:
            StepFailed: `connection_not_found`, not retryable.
        """
        ...

    async def confirm(self) -> None:
        """Makes sure, right before an effect that cannot be undone, that this attempt still counts.

        Raises:
            LeaseLost: another worker has taken over, or the execution was cancelled.
        """
        ...


class StepType(ABC):
    """A kind of step. One instance serves the whole process; attempts share nothing through it."""

    type: ClassVar[str]
    title: ClassVar[str]
    description: ClassVar[str]
    capabilities: ClassVar[frozenset[str]] = frozenset()
    """Words that `/steps/types` shows, such as `transaction` or `cancel`; `DEFERRABLE` lets a
    step's `timeout` be longer than one call may take."""
    Config: ClassVar[builtins.type[StepConfig]]

    def unavailable_reason(self) -> str | None:
        """Why this type cannot run on this machine, and the remedy; None when it can."""
        return None

    @abstractmethod
    async def run(self, config: Any, context: StepContext) -> StepResult | Pending:  # noqa: ANN401
        """Runs one attempt, or one look of it; `config` is a `Config`, templates rendered.

        Raises:
            StepFailed: the attempt failed; any other exception is reported as `step_crashed`.
            asyncio.CancelledError: when cancelled, after the outside work has been stopped. An
                attempt whose effect took place all the same may return its result instead.
            NotStopped: when cancelled, and the outside work could not be stopped.
        """

    async def stop(self, config: Any, context: StepContext) -> None:  # noqa: ANN401
        """Ends the outside work of an attempt that waits, as `context.state` has it.

        Called in the place of the next look, once the attempt is cancelled or out of time, and
        again where a worker died over it. A type that never returns `Pending` needs none.

        Raises:
            StepFailed, NotStopped: it could not be ended; the execution tells the sentence.
        """
        return

    async def close(self) -> None:
        """Gives back what the process holds for this type (pools, threads)."""
        return
