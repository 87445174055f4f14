"""Calls a step type: renders its configuration, and says in plain data how its code ended."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from scheduler.clock import Clock
from scheduler.errors import StorageUnavailable
from scheduler.execution.attempts.context import AttemptContext
from scheduler.execution.attempts.published import PublishedValues, not_published
from scheduler.execution.claim import Claim
from scheduler.execution.rules.outcome import Outcome
from scheduler.jobs.model import Json
from scheduler.jobs.templates import TemplateValues, ValueNotPublished, render
from scheduler.telemetry import get_logger
from steps.contract import (
    LeaseLost,
    NotStopped,
    Pending,
    StepConfig,
    StepFailed,
    StepResult,
    StepType,
)

log = get_logger(__name__)
_PAUSE_SECONDS = 0.5

type End = StepResult | Pending | Outcome | NotStopped | None
"""How a step's code has come to its end; None when its attempt no longer counts."""


class StepTypes(Protocol):
    """Finds step types by name."""

    def get(self, type: str) -> StepType:
        """The step type of this name.

        Raises:
            KeyError: there is none.
        """
        ...


@dataclass(frozen=True, slots=True)
class _Bound:
    """A step type, and the configuration to call it with."""

    type: StepType
    config: StepConfig


class StepCalls:
    """Calls the code of step types; whatever that raises comes back as a value."""

    def __init__(self, types: StepTypes, published: PublishedValues, clock: Clock) -> None:
        self._types = types
        self._published = published
        self._clock = clock

    async def run(self, claim: Claim, context: AttemptContext) -> End:
        """Runs an attempt, or one look of it."""
        try:
            bound = await self._bound(claim, context)
            if isinstance(bound, Outcome):
                return bound
            result = await bound.type.run(bound.config, context)
            if not isinstance(result, StepResult | Pending):
                raise TypeError(
                    f"a step returns a StepResult or Pending, not a {type(result).__name__}"
                )
            return result
        except StepFailed as failure:
            return _failed(failure)
        except LeaseLost:
            return None
        except NotStopped as unknown:
            return unknown
        except Exception as error:
            return _crash(claim, error)

    async def stop(self, claim: Claim, context: AttemptContext) -> Outcome | NotStopped | None:
        """Has the outside work ended that an attempt waits for; None when that went well."""
        try:
            bound = await self._bound(claim, context)
            if isinstance(bound, Outcome):
                return bound
            await bound.type.stop(bound.config, context)
        except StepFailed as failure:
            return _failed(failure)
        except NotStopped as unknown:
            return unknown
        except Exception as error:
            return _crash(claim, error)
        return None

    async def _bound(self, claim: Claim, context: AttemptContext) -> _Bound | Outcome:
        try:
            step_type = self._types.get(claim.spec.type)
        except KeyError:
            return Outcome(
                error_code="unknown_step_type",
                error_message=f"no step type {claim.spec.type!r} is installed in this app",
            )
        published = await self._values(claim, context, step_type)
        try:
            text = self._rendered(claim, step_type, published)
        except ValueNotPublished as error:
            reference = error.reference
            return not_published(claim, reference, published.get(reference.step, {}))
        return _Bound(step_type, step_type.Config.model_validate_json(text))

    async def _values(
        self, claim: Claim, context: AttemptContext, step_type: StepType
    ) -> Mapping[str, Mapping[str, Json]]:
        """What other steps have published for it; asked for as long as the lease holds.

        Raises:
            LeaseLost: storage did not answer until then.
        """
        while True:
            try:
                return await self._published.named_by(claim, step_type)
            except StorageUnavailable as error:
                log.warning("values have to wait for storage", extra={"action": "values_wait"})
                await asyncio.wait({context.lease.gone}, timeout=_PAUSE_SECONDS)
                if context.lease.lost.is_set():
                    raise LeaseLost("storage did not answer in time") from error

    def _rendered(
        self, claim: Claim, step_type: StepType, published: Mapping[str, Mapping[str, Json]]
    ) -> str:
        run = claim.run.value
        values = TemplateValues(
            scheduled_time=run.scheduled_time,
            now=run.start_time or self._clock.now(),
            timezone=run.timezone,
            execution_id=run.execution_id,
            job_id=run.job_id,
            job_name=run.job_name,
            attempt=claim.state.attempt,
            published=published,
        )
        templated = step_type.Config.TEMPLATED
        config = {
            name: render(value, values) if name in templated else value
            for name, value in claim.spec.config.items()
        }
        return json.dumps(config)


def _failed(failure: StepFailed) -> Outcome:
    return Outcome(
        error_code=str(failure.code),
        error_message=str(failure.message),
        retryable=failure.retryable,
        retry_after=failure.retry_after,
        metadata=failure.metadata,
    )


def _crash(claim: Claim, error: Exception) -> Outcome:
    log.exception("a step type failed unexpectedly", extra={"action": "step_crashed"})
    return crashed(claim, type(error).__name__)


def crashed(claim: Claim, error: str) -> Outcome:
    """The outcome of an attempt whose step type did what it must not; `error` names it."""
    return Outcome(
        error_code="step_crashed",
        error_message=f"the step type {claim.spec.type!r} failed unexpectedly ({error}):"
        " the app's log has the details",
        retryable=True,
    )
