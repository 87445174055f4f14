"""What a step is told while it runs: the `StepContext` of `steps.contract`."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from logging import LoggerAdapter
from typing import Any

from scheduler.execution.attempts.lease import Lease
from scheduler.execution.claim import Claim
from scheduler.settings import Settings
from scheduler.telemetry import get_logger
from steps.contract import StepFailed


@dataclass(kw_only=True)
class AttemptContext:
    """One attempt, or one look of it, as its step sees it."""

    execution_id: str
    job_id: str
    step_id: str
    attempt: int
    timezone: str
    deadline: datetime
    state: Any
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


def context_of(claim: Claim, lease: Lease, settings: Settings) -> AttemptContext:
    """The context of a claimed attempt."""
    run, state = claim.run.value, claim.record.waiting_state
    return AttemptContext(
        execution_id=run.execution_id,
        job_id=run.job_id,
        step_id=claim.spec.id,
        attempt=claim.state.attempt,
        timezone=run.timezone,
        deadline=deadline_of(claim),
        state=None if state is None else json.loads(state),
        grace_seconds=settings.cancel_grace_seconds,
        logger=get_logger(f"steps.{claim.spec.type}"),
        lease=lease,
        connections=settings.connections,
    )


def deadline_of(claim: Claim) -> datetime:
    """When an attempt is out of time: by its own timeout, over all its looks, or by its job's.

    The job's time does not cut off a step that cleans up.
    """
    began = claim.record.attempts[-1].start_time
    deadline = began + timedelta(seconds=claim.spec.timeout)
    return deadline if claim.spec.cleans_up else min(deadline, claim.run.value.deadline)
