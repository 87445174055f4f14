"""Executions as their callers see them: read, waited for, and those that are still to come."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler.api.coming import ComingRuns
from scheduler.api.execution_view import execution_document
from scheduler.clock import Clock
from scheduler.dispatch.ids import parse_execution_id
from scheduler.errors import Conflict, DefinitionLost, NotFound
from scheduler.execution.rules.model import Run, StepRecord
from scheduler.execution.rules.states import RunState
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job
from scheduler.telemetry import get_logger

log = get_logger(__name__)
_FIRST_LOOK_SECONDS = 0.1
_SLOWEST_LOOK_SECONDS = 1.0
_RETRIABLE = frozenset(
    {RunState.FAILED, RunState.PARTIAL_SUCCESS, RunState.CANCELLED, RunState.TIMEOUT}
)


@dataclass(frozen=True, slots=True)
class ExecutionReply:
    """An execution as a call answers it."""

    body: dict[str, Any]
    execution_id: str
    finished: bool
    replayed: bool = False
    """Whether it had been started by the same call before."""


class ExecutionReader:
    """Reads executions.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(
        self, definitions: Definitions, coming: ComingRuns, store: ExecutionStore, clock: Clock
    ) -> None:
        self._definitions = definitions
        self._coming = coming
        self._store = store
        self._clock = clock

    async def reply(self, run: Run, wait_seconds: float, job: Job | None = None) -> ExecutionReply:
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
        run, coming = await self._find(execution_id)
        if coming is not None:
            return ExecutionReply(execution_document(run, coming, {}), run.execution_id, False)
        body = execution_document(run, await self._definition_of(run), await self._records(run))
        if run.state in _RETRIABLE:
            body["retries"] = await self._store.retries(run.key)
        return ExecutionReply(body, run.execution_id, run.state.finished)

    async def _records(self, run: Run) -> dict[int, StepRecord]:
        """The rows of its steps, those too that it took over from the executions it retries."""
        own = await self._store.steps(run.key) if run.start_time is not None else {}
        taken_over = {run.source_of(place) for place in range(len(run.steps))} - {run.key}
        sources = {key: await self._store.steps(key) for key in taken_over}
        return own | {
            place: sources[key][place]
            for place in range(len(run.steps))
            if (key := run.source_of(place)) in sources and place in sources[key]
        }

    async def _definition_of(self, run: Run) -> Job | None:
        """An execution's definition; None where it never had one, or lost it: it is shown still."""
        if not run.definition:
            return None
        try:
            return await self._definitions.load(run.job_id, run.definition)
        except DefinitionLost as error:
            log.warning("%s", error.message, extra={"action": "definition_lost"})
            return None

    async def stored(self, execution_id: str) -> Run:
        """An execution that has been made, be it finished or not.

        Raises:
            NotFound: `execution_not_found`.
            Conflict: `execution_unfinished`: it is a coming one.
        """
        run, coming = await self._find(execution_id)
        if coming is None:
            return run
        raise Conflict(
            "the execution is still to come: it can be cancelled", code="execution_unfinished"
        )

    async def stored_or_coming(self, execution_id: str) -> Run:
        """An execution that has been made, or as it would be made.

        Raises:
            NotFound: `execution_not_found`.
        """
        return (await self._find(execution_id))[0]

    async def _find(self, execution_id: str) -> tuple[Run, Job | None]:
        """An execution; with the job of one that is still to come, as it would be made."""
        key = parse_execution_id(execution_id)
        if key is None:
            raise _not_found(execution_id)
        stored = await self._store.run(key.execution_id)
        if stored is not None:
            return stored.value, None
        coming = await self._coming.find(key)
        if coming is None:
            raise _not_found(execution_id)
        return coming


def _not_found(execution_id: str) -> NotFound:
    return NotFound(
        f"there is no execution {execution_id[:200]!r}: its id is the one that the start answered",
        code="execution_not_found",
    )
