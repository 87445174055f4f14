"""A job that somebody wants to run now, a stored one or one in the body: may they, and may it?"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.api.faults import Faults
from scheduler.api.job_body import parse_job, unwrap_job
from scheduler.clock import Clock
from scheduler.errors import Conflict, FieldError, InvalidRequest
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.rerun import LONGEST_CHAIN, Rerun, rerun_of
from scheduler.execution.rules.states import RunState
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job
from scheduler.security.principals import Principal, Role
from steps.registry import Registry


@dataclass(frozen=True, slots=True)
class Startable:
    """A job to be run: `definition` is its hash, None where it is not stored yet.

    `inline`: its definition came with a call. `rerun`: what the run takes over from the execution
    that it retries, which was for the instant `scheduled`.
    """

    job: Job
    definition: str | None
    inline: bool = False
    rerun: Rerun | None = None
    scheduled: datetime | None = None


class Runnable:
    """Loads and reads jobs for runs on request."""

    def __init__(
        self, catalog: Catalog, definitions: Definitions, registry: Registry, clock: Clock
    ) -> None:
        self._catalog = catalog
        self._definitions = definitions
        self._registry = registry
        self._clock = clock

    async def load(self, principal: Principal, job_id: str, *, force: bool) -> tuple[Job, str]:
        """A stored job, and the hash of its definition; a disabled one only with `force`.

        Raises:
            NotFound: `job_not_found`.
            Conflict: `job_disabled`.
            Forbidden: the caller has no right to one of the step types.
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._catalog.require(job_id)
        principal.require_step_types(row.step_types)
        if not row.enabled and not force:
            raise Conflict(
                f"the job {row.job_id!r} is disabled: resume it, or send force: true",
                code="job_disabled",
            )
        return await self._definitions.load(row.job_id, row.definition), row.definition

    async def named(self, principal: Principal, job_id: str, *, force: bool) -> Startable:
        """A stored job, as `load`."""
        return Startable(*await self.load(principal, job_id, force=force))

    async def asked_for(self, principal: Principal, body: Mapping[str, Any]) -> Startable:
        """The job that a body names or holds.

        Raises:
            InvalidRequest: with every fault of the body.
            NotFound: `job_not_found`.
            Conflict: `job_exists`, `job_disabled`.
            Forbidden: the caller has no right to one of the step types; an inline definition
                needs the role author.
            StorageUnavailable: storage cannot be reached.
        """
        if "job_id" in body:
            job_id, force = _named(body)
            return await self.named(principal, job_id, force=force)
        return Startable(await self._inline(principal, body), None, inline=True)

    async def again(self, principal: Principal, run: Run, *, force: bool) -> Startable:
        """The job of an execution that is to be retried, with the definition that it had.

        Raises:
            NotFound: `job_not_found`: the job has been deleted.
            Conflict: `job_disabled`, `execution_unfinished`, `nothing_to_retry`,
                `retried_too_often`.
            Forbidden: the caller has no right to one of the step types; an inline definition
                needs the role author.
            StorageUnavailable: storage cannot be reached.
        """
        _check_retriable(run)
        if run.inline:
            principal.require(Role.AUTHOR)
        else:
            await self.load(principal, run.job_id, force=force)
        job = await self._definitions.load(run.job_id, run.definition)
        principal.require_step_types(job.step_types)
        return Startable(
            job,
            run.definition,
            inline=run.inline,
            rerun=rerun_of(run, job),
            scheduled=run.scheduled_time,
        )

    async def _inline(self, principal: Principal, body: Mapping[str, Any]) -> Job:
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
        return job


def _check_retriable(run: Run) -> None:
    """Refuses the retry of an execution that has nothing to be done again."""
    if not run.state.finished:
        raise Conflict(
            f"the execution is {run.state}: wait for its end, or cancel it first",
            code="execution_unfinished",
        )
    if run.state in (RunState.SUCCESS, RunState.SKIPPED) or not run.steps:
        raise Conflict(
            f"the execution has ended with {run.state}, so there is nothing to try again: run the"
            " job anew",
            code="nothing_to_retry",
        )
    if len(run.retried) >= LONGEST_CHAIN:
        raise Conflict(
            f"the execution is the {LONGEST_CHAIN}th retry in a row: run the job anew",
            code="retried_too_often",
        )


def _named(body: Mapping[str, Any]) -> tuple[str, bool]:
    """The id of the stored job that a body names, and whether it is to run though disabled."""
    faults = [
        FieldError(f"/{name}", "unexpected_field", "leave it out: the job is a stored one")
        for name in body
        if name not in ("job_id", "force")
    ]
    job_id, force = body["job_id"], body.get("force", False)
    if not isinstance(job_id, str):
        faults.append(FieldError("/job_id", "wrong_type", "must be a string"))
    if not isinstance(force, bool):
        faults.append(FieldError("/force", "wrong_type", "must be true or false"))
    if faults:
        raise InvalidRequest(faults)
    return job_id, force
