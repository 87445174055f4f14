"""The use cases of executions: run now, read, cancel."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from scheduler.api.action_bodies import CancelBody, RunBody
from scheduler.api.coming import ComingRuns
from scheduler.api.execution_view import execution_document
from scheduler.api.idempotency import Idempotency, Once
from scheduler.api.job_warnings import shown, start_warnings
from scheduler.api.runnable import Runnable
from scheduler.api.wire_model import read_model
from scheduler.clock import Clock
from scheduler.dispatch.ids import (
    ExecutionId,
    Trigger,
    key_of,
    manual_id,
    parse_execution_id,
)
from scheduler.errors import DefinitionLost, NotFound
from scheduler.execution.cancel import Cancellation
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.states import RunState
from scheduler.execution.starting.manual import ManualStarts, RunRequest
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job, JobId
from scheduler.jobs.notice import Notice
from scheduler.security.audit import AuditLog, Caller
from scheduler.security.principals import Principal
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_FIRST_LOOK_SECONDS = 0.1
_SLOWEST_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ExecutionReply:
    """An execution as a call answers it."""

    body: dict[str, Any]
    execution_id: str
    finished: bool
    replayed: bool = False
    """Whether it had been started by the same call before."""


class Executions:
    """Executions, as their callers see them."""

    def __init__(
        self,
        *,
        definitions: Definitions,
        runnable: Runnable,
        coming: ComingRuns,
        cancellation: Cancellation,
        store: ExecutionStore,
        starts: ManualStarts,
        idempotency: Idempotency,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._definitions = definitions
        self._runnable = runnable
        self._coming = coming
        self._cancellation = cancellation
        self._store = store
        self._starts = starts
        self._idempotency = idempotency
        self._audit = audit
        self._clock = clock

    async def execute(
        self,
        caller: Caller,
        principal: Principal,
        body: Mapping[str, Any],
        wait_seconds: float,
        once: Once | None = None,
    ) -> ExecutionReply:
        """Starts a job of the body, or a stored one, and waits for its end for up to so long.

        With `once`, the same call again finds the execution that the first one started.

        Raises:
            InvalidRequest: with every fault of the definition.
            NotFound: `job_not_found`.
            Conflict: `job_exists`, `job_disabled`, `scheduler_stopped`.
            Forbidden: an inline definition needs the role author.
            IdempotencyKeyReused: the key of `once` stands for another call.
        """
        load = partial(self._runnable.asked_for, principal, body)
        return await self._start(caller, principal, load, wait_seconds, once)

    async def run(
        self,
        caller: Caller,
        principal: Principal,
        job_id: str,
        body: Mapping[str, Any],
        wait_seconds: float,
        once: Once | None = None,
    ) -> ExecutionReply:
        """Starts a stored job, and waits for its end for up to so long; `once` as for `execute`.

        Raises:
            InvalidRequest: the body has other fields than `force`.
            NotFound: `job_not_found`.
            Conflict: `job_disabled`, `scheduler_stopped`.
            Forbidden: the caller has no right to one of the step types.
            IdempotencyKeyReused: the key of `once` stands for another call.
        """

        async def load() -> tuple[Job, str | None]:
            force = read_model(RunBody, body, "a run").force
            return await self._runnable.load(principal, job_id, force=force)

        return await self._start(caller, principal, load, wait_seconds, once)

    async def _start(
        self,
        caller: Caller,
        principal: Principal,
        load: Callable[[], Awaitable[tuple[Job, str | None]]],
        wait_seconds: float,
        once: Once | None,
    ) -> ExecutionReply:
        reserved = await self._idempotency.find(once)
        if reserved is not None:
            stored = await self._store.run(ExecutionId(reserved.ids[0]))
            if stored is not None:
                return replace(await self._reply(stored.value, wait_seconds), replayed=True)
        job, definition = await load()
        now = self._clock.now()
        request = RunRequest(execution_id=manual_id(job.id, now), scheduled=now)
        if once is not None:
            reserved = reserved or await self._idempotency.reserve(once, request.execution_id)
            key = key_of(ExecutionId(reserved.ids[0]))
            request = RunRequest(execution_id=key.execution_id, scheduled=reserved.at)
            job = replace(job, id=JobId(key.job_id))  # the first try made up another for this one
        (run,) = await self._starts.start(
            [request],
            job,
            definition or await self._definitions.put(job),
            trigger=Trigger.MANUAL,
            requested_by=principal.id,
            inline=definition is None,
        )
        await self._audit.record(caller, "execute_job", f"execution:{run.execution_id}")
        reply = await self._reply(run, wait_seconds, job)
        if notes := start_warnings(job):
            reply.body["warnings"] = notes
        return reply

    async def _reply(self, run: Run, wait_seconds: float, job: Job | None = None) -> ExecutionReply:
        """The execution once it has ended, or the time is over; `job`: of one just made."""
        if wait_seconds > 0 and not run.state.finished:
            return await self._wait(run, self._clock.now() + timedelta(seconds=wait_seconds))
        if job is None:
            return await self.read(run.execution_id)
        return ExecutionReply(
            execution_document(run, job, {}), run.execution_id, run.state.finished
        )

    async def _wait(self, run: Run, until: datetime) -> ExecutionReply:
        pause = _FIRST_LOOK_SECONDS
        stored = await self._store.run(run.execution_id)
        while self._clock.now() < until and not (stored and stored.value.state.finished):
            await asyncio.sleep(pause)
            pause = min(pause * 1.5, _SLOWEST_LOOK_SECONDS)
            stored = await self._store.run(run.execution_id)
        return await self.read(run.execution_id)

    async def read(self, execution_id: str) -> ExecutionReply:
        """An execution with its steps; one that is scheduled and has not begun yet is pending.

        Raises:
            NotFound: `execution_not_found`.
        """
        key = parse_execution_id(execution_id)
        if key is None:
            raise _not_found(execution_id)
        stored = await self._store.run(key.execution_id)
        if stored is None:
            coming = await self._coming.find(key)
            if coming is None:
                raise _not_found(execution_id)
            body = execution_document(*coming, {})
            return ExecutionReply(body, key.execution_id, False)
        run = stored.value
        records = await self._store.steps(run.key) if run.start_time is not None else {}
        body = execution_document(run, await self._definition_of(run), records)
        return ExecutionReply(body, run.execution_id, run.state.finished)

    async def _definition_of(self, run: Run) -> Job | None:
        """An execution's definition; None where it never had one, or lost it: it is shown still."""
        if not run.definition:
            return None
        try:
            return await self._definitions.load(run.job_id, run.definition)
        except DefinitionLost as error:
            log.warning("%s", error.message, extra={"action": "definition_lost"})
            return None

    async def cancel(
        self,
        caller: Caller,
        principal: Principal,
        execution_id: str,
        body: Mapping[str, Any],
        wait_seconds: float,
    ) -> ExecutionReply:
        """Cancels an execution, or a coming one, and waits for its end for up to so long.

        One that has ended stays as it is; a warning says so where it was not cancelled.

        Raises:
            InvalidRequest: the body has other fields than `reason`.
            NotFound: `execution_not_found`.
        """
        reason = read_model(CancelBody, body, "a cancel").reason or ""
        key = parse_execution_id(execution_id)
        if key is None:
            raise _not_found(execution_id)
        stored = await self._store.run(key.execution_id)
        coming = await self._coming.find(key) if stored is None else None
        run = stored.value if stored is not None else coming[0] if coming is not None else None
        if run is None:
            raise _not_found(execution_id)
        run = await self._cancellation.cancel(run, principal.id, reason)
        await self._audit.record(caller, "cancel_execution", f"execution:{run.execution_id}")
        reply = await self._reply(run, wait_seconds)
        if reply.finished and reply.body["status"] != RunState.CANCELLED:
            reply.body["warnings"] = shown([_ended_before(str(reply.body["status"]))])
        return reply


def _ended_before(status: str) -> Notice:
    text = f"nothing was left to cancel: the execution has ended with {status}"
    return Notice("", "already_ended", text)


def _not_found(execution_id: str) -> NotFound:
    return NotFound(
        f"there is no execution {execution_id[:200]!r}: its id is the one that the start answered",
        code="execution_not_found",
    )
