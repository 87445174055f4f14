"""The use cases of executions: run now, retry, cancel, erase."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from scheduler.api.action_bodies import CancelBody, RetryBody, RunBody
from scheduler.api.execution_reader import ExecutionReader, ExecutionReply
from scheduler.api.idempotency import Idempotency, Once
from scheduler.api.job_warnings import shown, start_warnings
from scheduler.api.runnable import Runnable, Startable
from scheduler.api.wire_model import read_model
from scheduler.clock import Clock
from scheduler.dispatch.ids import (
    ExecutionId,
    Trigger,
    key_of,
    manual_id,
)
from scheduler.execution.cancel import Cancellation
from scheduler.execution.history.erasing import Eraser
from scheduler.execution.rules.states import RunState
from scheduler.execution.starting.manual import ManualStarts, RunRequest
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import JobId
from scheduler.jobs.notice import Notice
from scheduler.security.audit import AuditLog, Caller
from scheduler.security.principals import Principal


class Executions:
    """What callers do with executions; `reader` shows what came of it."""

    def __init__(
        self,
        *,
        definitions: Definitions,
        runnable: Runnable,
        reader: ExecutionReader,
        cancellation: Cancellation,
        eraser: Eraser,
        store: ExecutionStore,
        starts: ManualStarts,
        idempotency: Idempotency,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._definitions = definitions
        self._runnable = runnable
        self._reader = reader
        self._cancellation = cancellation
        self._eraser = eraser
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

        async def load() -> Startable:
            force = read_model(RunBody, body, "a run").force
            return await self._runnable.named(principal, job_id, force=force)

        return await self._start(caller, principal, load, wait_seconds, once)

    async def retry(
        self,
        caller: Caller,
        principal: Principal,
        execution_id: str,
        body: Mapping[str, Any],
        wait_seconds: float,
        once: Once | None = None,
    ) -> ExecutionReply:
        """Starts a new execution that goes on from where one failed; `once` as for `execute`.

        Raises:
            InvalidRequest: the body has other fields than `force`.
            NotFound: `execution_not_found`, `job_not_found`.
            Conflict: `execution_unfinished`, `nothing_to_retry`, `retried_too_often`,
                `job_disabled`, `scheduler_stopped`.
            Forbidden: the caller has no right to one of the step types.
            IdempotencyKeyReused: the key of `once` stands for another call.
        """

        async def load() -> Startable:
            force = read_model(RetryBody, body, "a retry").force
            run = await self._reader.stored(execution_id)
            return await self._runnable.again(principal, run, force=force)

        return await self._start(caller, principal, load, wait_seconds, once)

    async def _start(
        self,
        caller: Caller,
        principal: Principal,
        load: Callable[[], Awaitable[Startable]],
        wait_seconds: float,
        once: Once | None,
    ) -> ExecutionReply:
        reserved = await self._idempotency.find(once)
        if reserved is not None:
            stored = await self._store.run(ExecutionId(reserved.ids[0]))
            if stored is not None:
                return replace(await self._reader.reply(stored.value, wait_seconds), replayed=True)
        start = await load()
        job, at = start.job, self._clock.now()
        execution_id = manual_id(job.id, at)
        if once is not None:
            reserved = reserved or await self._idempotency.reserve(once, execution_id)
            key = key_of(ExecutionId(reserved.ids[0]))
            execution_id, at = key.execution_id, reserved.at
            job = replace(job, id=JobId(key.job_id))  # the first try made up another for this one
        request = RunRequest(
            execution_id=execution_id, scheduled=start.scheduled or at, rerun=start.rerun
        )
        (run,) = await self._starts.start(
            [request],
            job,
            start.definition or await self._definitions.put(job),
            trigger=Trigger.RETRY if start.rerun is not None else Trigger.MANUAL,
            requested_by=principal.id,
            inline=start.inline,
        )
        action = "retry_execution" if start.rerun is not None else "execute_job"
        await self._audit.record(caller, action, f"execution:{run.execution_id}")
        reply = await self._reader.reply(run, wait_seconds, job)
        if notes := start_warnings(job):
            reply.body["warnings"] = notes
        return reply

    async def erase(self, caller: Caller, execution_id: str) -> dict[str, Any]:
        """Erases an execution that has ended, with its outputs.

        Raises:
            NotFound: `execution_not_found`.
            Conflict: `execution_unfinished`, `execution_in_use`.
        """
        await self._eraser.erase(await self._reader.stored(execution_id))
        await self._audit.record(caller, "erase_execution", f"execution:{execution_id}")
        return {"message": f"execution {execution_id} erased", "execution_id": execution_id}

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
        found = await self._reader.stored_or_coming(execution_id)
        run = await self._cancellation.cancel(found, principal.id, reason)
        await self._audit.record(caller, "cancel_execution", f"execution:{run.execution_id}")
        reply = await self._reader.reply(run, wait_seconds)
        if reply.finished and reply.body["status"] != RunState.CANCELLED:
            reply.body["warnings"] = shown([_ended_before(str(reply.body["status"]))])
        elif not run.state.finished and run.cancel is None:
            reply.body["warnings"] = shown([_CLEANING_UP])
        return reply


_CLEANING_UP = Notice(
    "",
    "only_cleaning_up",
    "nothing was left to cancel but steps that clean up: they run to their end, or their timeout",
)


def _ended_before(status: str) -> Notice:
    text = f"nothing was left to cancel: the execution has ended with {status}"
    return Notice("", "already_ended", text)
