"""Runs one attempt of a step: renders its configuration, calls its type, tells how it ended."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from logging import LoggerAdapter
from typing import Any, Protocol

from scheduler.clock import Clock
from scheduler.execution.claim import Claim
from scheduler.execution.lease import Lease
from scheduler.execution.outputs import Outputs, storable
from scheduler.execution.rules.outcome import Outcome
from scheduler.jobs.templates import TemplateValues, render
from scheduler.security.redaction import Redactor
from scheduler.settings import Settings
from scheduler.telemetry import get_logger
from steps.contract import LeaseLost, NotStopped, StepFailed, StepResult, StepType

log = get_logger(__name__)
_UNKNOWN = "it did not stop, so what it did outside is unknown"

type _End = StepResult | Outcome | NotStopped | None
"""How a step's code has come to its end; None when its attempt no longer counts."""


class StepTypes(Protocol):
    """Finds step types by name."""

    def get(self, type: str) -> StepType:
        """The step type of this name.

        Raises:
            KeyError: there is none.
        """
        ...


@dataclass(kw_only=True)
class AttemptContext:
    """What a step is told: the `StepContext` of `steps.contract`."""

    execution_id: str
    job_id: str
    step_id: str
    attempt: int
    timezone: str
    deadline: datetime
    grace_seconds: float
    logger: LoggerAdapter[Any]
    lease: Lease
    connections: Mapping[str, str]
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    def connection(self, name: str) -> str:
        """The ODBC connection string of the named connection.

        Raises:
            StepFailed: `connection_not_found`, not retryable.
        """
        text = self.connections.get(name.lower())
        if text is None:
            raise StepFailed(
                "connection_not_found",
                f"there is no connection {name!r}: add the app setting"
                f" SCHEDULER_CONNECTION_{name.upper()} with its ODBC connection string",
                retryable=False,
            )
        return text

    async def confirm(self) -> None:
        """Makes sure that this attempt still counts.

        Raises:
            LeaseLost: another worker has taken over.
        """
        await self.lease.confirm()


class Attempts:
    """Runs claimed attempts."""

    def __init__(
        self,
        types: StepTypes,
        outputs: Outputs,
        redactor: Redactor,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._types = types
        self._outputs = outputs
        self._redactor = redactor
        self._settings = settings
        self._grace_seconds = 2 * settings.cancel_grace_seconds
        self._clock = clock

    async def run(self, claim: Claim, lease: Lease) -> Outcome | None:
        """Runs an attempt to its end; None when its lease was lost on the way."""
        outcome = await self._guarded(claim, lease)
        if outcome is None:
            return None
        if isinstance(outcome, StepResult):
            return await self._outputs.outcome(claim, outcome)
        message = storable(self._redactor.text(outcome.error_message))
        metadata = self._outputs.metadata(outcome.metadata)
        return replace(outcome, error_message=message, metadata=metadata)

    async def _guarded(self, claim: Claim, lease: Lease) -> StepResult | Outcome | None:
        context = self._context(claim, lease)
        seconds = max((context.deadline - self._clock.now()).total_seconds(), 0)
        work = asyncio.create_task(self._call(claim, context))
        try:
            await asyncio.wait(
                {work, lease.gone, lease.told_to_stop},
                timeout=seconds,
                return_when="FIRST_COMPLETED",
            )
        except asyncio.CancelledError:
            # The process is ending: the step gets its time to undo what it began.
            work.cancel()
            await asyncio.wait({work}, timeout=self._grace_seconds)
            raise
        if not work.done():
            return await self._stop(claim, work, context, lease, seconds)
        if work.cancelled():
            return _crashed(claim, "CancelledError")
        result = work.result()
        if isinstance(result, NotStopped):
            return _crashed(claim, "NotStopped")
        return _cancelled() if result is None and lease.cancelled.is_set() else result

    async def _stop(
        self,
        claim: Claim,
        work: asyncio.Task[_End],
        context: AttemptContext,
        lease: Lease,
        seconds: float,
    ) -> StepResult | Outcome | None:
        """Ends a step whose time is up, whose lease is lost, or that is to be cancelled.

        A step that succeeds all the same counts.
        """
        context.cancelled.set()
        work.cancel()
        done, _ = await asyncio.wait({work}, timeout=self._grace_seconds)
        if not done:
            work.add_done_callback(_forget)
        if lease.lost.is_set():
            return None
        result = work.result() if done and not work.cancelled() else None
        if lease.cancelled.is_set() and not isinstance(result, StepResult):
            return _cancelled(_left_open(result, done=bool(done)))
        if isinstance(result, StepResult | Outcome):
            return result
        limit = f"its timeout of {round(seconds, 1):g} s"
        if context.deadline == claim.run.value.deadline:
            limit = f"{round(seconds, 1):g} s, for the job's timeout_seconds were over"
        return Outcome(
            error_code="step_timeout",
            error_message=f"the step was stopped after {limit}"
            + _left_open(result, done=bool(done)),
            retryable=True,
            timed_out=True,
        )

    async def _call(self, claim: Claim, context: AttemptContext) -> _End:
        try:
            step_type = self._types.get(claim.spec.type)
        except KeyError:
            return Outcome(
                error_code="unknown_step_type",
                error_message=f"no step type {claim.spec.type!r} is installed in this app",
            )
        try:
            config = step_type.Config.model_validate_json(self._rendered(claim, step_type))
            result = await step_type.run(config, context)
            if not isinstance(result, StepResult):
                raise TypeError(f"a step returns a StepResult, not a {type(result).__name__}")
            return result
        except StepFailed as failure:
            return Outcome(
                error_code=str(failure.code),
                error_message=str(failure.message),
                retryable=failure.retryable,
                retry_after=failure.retry_after,
                metadata=failure.metadata,
            )
        except LeaseLost:
            return None
        except NotStopped as unknown:
            return unknown
        except Exception as error:
            log.exception("a step type failed unexpectedly", extra={"action": "step_crashed"})
            return _crashed(claim, type(error).__name__)

    def _rendered(self, claim: Claim, step_type: StepType) -> str:
        run = claim.run.value
        values = TemplateValues(
            scheduled_time=run.scheduled_time,
            now=run.start_time or self._clock.now(),
            timezone=run.timezone,
            execution_id=run.execution_id,
            job_id=run.job_id,
            job_name=run.job_name,
            attempt=claim.state.attempt,
        )
        templated = step_type.Config.TEMPLATED
        config = {
            name: render(value, values) if name in templated else value
            for name, value in claim.spec.config.items()
        }
        return json.dumps(config)

    def _context(self, claim: Claim, lease: Lease) -> AttemptContext:
        run = claim.run.value
        deadline = self._clock.now() + timedelta(seconds=claim.spec.timeout)
        return AttemptContext(
            execution_id=run.execution_id,
            job_id=run.job_id,
            step_id=claim.spec.id,
            attempt=claim.state.attempt,
            timezone=run.timezone,
            deadline=min(deadline, run.deadline),
            grace_seconds=self._settings.cancel_grace_seconds,
            logger=get_logger(f"steps.{claim.spec.type}"),
            lease=lease,
            connections=self._settings.connections,
        )


def _cancelled(left_open: str = "") -> Outcome:
    return Outcome(
        error_code="step_cancelled",
        error_message=f"the step was stopped, for the execution was cancelled{left_open}",
        cancelled=True,
    )


def _left_open(result: Outcome | NotStopped | None, *, done: bool) -> str:
    """What a step that was told to stop says of its end, as the rest of a sentence."""
    if not done:
        return f"; {_UNKNOWN}"
    if isinstance(result, Outcome):
        return f"; {result.error_message}"
    return f"; {result}" if result is not None else ""


def _crashed(claim: Claim, error: str) -> Outcome:
    return Outcome(
        error_code="step_crashed",
        error_message=f"the step type {claim.spec.type!r} failed unexpectedly ({error}):"
        " the app's log has the details",
        retryable=True,
    )


def _forget(work: asyncio.Task[_End]) -> None:
    """Takes note of how a step ended that was given up, so that nothing is left unretrieved."""
    if not work.cancelled():
        log.info(
            "a step that was given up has ended: %s",
            work.exception() or "late",
            extra={"action": "late_end"},
        )
