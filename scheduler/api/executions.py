"""The use cases of executions: run now, read."""

import asyncio
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler.api.action_bodies import RunBody
from scheduler.api.execution_view import execution_document
from scheduler.api.faults import Faults
from scheduler.api.job_body import parse_job, unwrap_job
from scheduler.api.job_warnings import start_warnings
from scheduler.api.runnable import Runnable
from scheduler.api.wire_model import read_model
from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import ExecutionKey, Trigger, manual_id, parse_execution_id
from scheduler.dispatch.run_index import RunIndex
from scheduler.errors import Conflict, FieldError, InvalidRequest, NotFound
from scheduler.execution.arrivals import new_run
from scheduler.execution.manual import ManualStarts, RunRequest
from scheduler.execution.model import Run
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job
from scheduler.schedule.transitions import FIRST_YEAR, LAST_YEAR
from scheduler.schedule.triggers import next_instant
from scheduler.security.audit import AuditLog, Caller
from scheduler.security.principals import Principal, Role
from steps.registry import Registry

_FIRST_LOOK_SECONDS = 0.1
_SLOWEST_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ExecutionReply:
    """An execution as a call answers it."""

    body: dict[str, Any]
    execution_id: str
    finished: bool


class Executions:
    """Executions, as their callers see them."""

    def __init__(
        self,
        *,
        catalog: Catalog,
        definitions: Definitions,
        runnable: Runnable,
        dispatcher: Dispatcher,
        runs: RunIndex,
        store: ExecutionStore,
        starts: ManualStarts,
        registry: Registry,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._runnable = runnable
        self._dispatcher = dispatcher
        self._runs = runs
        self._store = store
        self._starts = starts
        self._registry = registry
        self._audit = audit
        self._clock = clock

    async def execute(
        self, caller: Caller, principal: Principal, body: Mapping[str, Any], wait_seconds: float
    ) -> ExecutionReply:
        """Starts a job of the body, or a stored one, and waits for its end for up to so long.

        Raises:
            InvalidRequest: with every fault of the definition.
            NotFound: `job_not_found`.
            Conflict: `job_exists`, `job_disabled`.
            Forbidden: an inline definition needs the role author.
        """
        if "job_id" in body:
            job, definition, inline = await self._stored(principal, body)
        else:
            job, definition, inline = await self._inline(principal, body)
        return await self._begin(
            caller, principal, job, definition, wait_seconds=wait_seconds, inline=inline
        )

    async def run(
        self,
        caller: Caller,
        principal: Principal,
        job_id: str,
        body: Mapping[str, Any],
        wait_seconds: float,
    ) -> ExecutionReply:
        """Starts a stored job, and waits for its end for up to so long.

        Raises:
            InvalidRequest: the body has other fields than `force`.
            NotFound: `job_not_found`.
            Conflict: `job_disabled`, `scheduler_stopped`.
            Forbidden: the caller has no right to one of the step types.
        """
        force = read_model(RunBody, body, "a run").force
        job, definition = await self._runnable.load(principal, job_id, force=force)
        return await self._begin(caller, principal, job, definition, wait_seconds=wait_seconds)

    async def _begin(
        self,
        caller: Caller,
        principal: Principal,
        job: Job,
        definition: str,
        *,
        wait_seconds: float,
        inline: bool = False,
    ) -> ExecutionReply:
        now = self._clock.now()
        (run,) = await self._starts.start(
            [RunRequest(execution_id=manual_id(job.id, now), scheduled=now)],
            job,
            definition,
            trigger=Trigger.MANUAL,
            requested_by=principal.id,
            inline=inline,
        )
        await self._audit.record(caller, "execute_job", f"execution:{run.execution_id}")
        body_of_run = execution_document(run, job, {})
        reply = ExecutionReply(body_of_run, run.execution_id, run.state.finished)
        if wait_seconds > 0 and not reply.finished:
            reply = await self._wait(run, self._clock.now() + timedelta(seconds=wait_seconds))
        if notes := start_warnings(job):
            reply.body["warnings"] = notes
        return reply

    async def _stored(self, principal: Principal, body: Mapping[str, Any]) -> tuple[Job, str, bool]:
        faults = [
            FieldError(f"/{name}", "unexpected_field", "leave it out: the job is a stored one")
            for name in body
            if name not in ("job_id", "force")
        ]
        if not isinstance(body["job_id"], str):
            faults.append(FieldError("/job_id", "wrong_type", "must be a string"))
        if not isinstance(body.get("force", False), bool):
            faults.append(FieldError("/force", "wrong_type", "must be true or false"))
        if faults:
            raise InvalidRequest(faults)
        job, definition = await self._runnable.load(
            principal, body["job_id"], force=body.get("force", False)
        )
        return job, definition, False

    async def _inline(self, principal: Principal, body: Mapping[str, Any]) -> tuple[Job, str, bool]:
        principal.require(Role.AUTHOR)
        around = Faults()
        document, where = unwrap_job(body, around)
        job = parse_job(
            document,
            registry=self._registry,
            now=self._clock.now(),
            new_id=lambda: f"inline-{secrets.token_hex(6)}",
            where=where,
            faults=around,
        )
        principal.require_step_types(job.step_types)
        if await self._catalog.find(job.id) is not None:
            raise Conflict(
                f"there is a stored job {job.id!r}: run it with {{job_id}}, or choose another id",
                code="job_exists",
            )
        return job, await self._definitions.put(job), True

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
            return await self._announced(key)
        run = stored.value
        job = await self._definitions.load(run.job_id, run.definition) if run.definition else None
        records = await self._store.steps(run.key) if run.start_time is not None else {}
        body = execution_document(run, job, records)
        return ExecutionReply(body, run.execution_id, run.state.finished)

    async def _announced(self, key: ExecutionKey) -> ExecutionReply:
        """The execution of a coming run of a job's schedule."""
        if not FIRST_YEAR < key.time.year < LAST_YEAR:
            raise _not_found(key.execution_id)
        row = await self._catalog.find(key.job_id)
        if row is None:
            raise _not_found(key.execution_id)
        job = await self._definitions.load(row.job_id, row.definition)
        if not await self._is_coming(key, job):
            raise _not_found(key.execution_id)
        run = new_run(
            key.execution_id,
            job,
            row.definition,
            trigger=Trigger.SCHEDULE,
            scheduled=key.time,
            now=self._clock.now(),
        )
        return ExecutionReply(execution_document(run, job, {}), key.execution_id, False)

    async def _is_coming(self, key: ExecutionKey, job: Job) -> bool:
        """Whether a job's schedule is still to start this run, or has announced it already."""
        if job.schedule is None or key.is_manual or key.backfill_number:
            return False
        # In this order, in which a run goes: from the due row to the `run:` row.
        planned = await self._catalog.next_run(key.job_id)
        if planned is not None and key.time >= planned.nominal:
            before = key.time - timedelta(seconds=1)
            return next_instant(job.schedule, job.timezone, before) == key.time
        queue = self._dispatcher.queue_of(job.timezone)
        return await self._runs.get(queue, key.execution_id) is not None


def _not_found(execution_id: str) -> NotFound:
    return NotFound(
        f"there is no execution {execution_id[:200]!r}: its id is the one that the start answered",
        code="execution_not_found",
    )
