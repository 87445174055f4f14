"""Cancels executions: what does not run ends at once, what runs is told to stop.

Steps that clean up are left alone once their execution has begun, and run when the others have
ended; a step that waits for outside work is called up to end it.
"""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.run_index import RunIndex
from scheduler.errors import ConflictingWrite, DefinitionLost, StorageUnavailable
from scheduler.execution.claim import Recorded
from scheduler.execution.followers import Followers, step_message
from scheduler.execution.rules.advance import Advanced, advanced, ended_by, goes_on, is_done
from scheduler.execution.rules.model import CancelRequest, Run, StepRecord
from scheduler.execution.rules.outcome import cancelled_record
from scheduler.execution.rules.states import RunEvent, StepEvent, StepStatus
from scheduler.execution.settle import Settlement
from scheduler.execution.store import ExecutionStore, Stored, replace_step, tell_to_stop
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job
from scheduler.settings import Settings
from scheduler.storage.contention import pauses
from scheduler.storage.tables import Change
from scheduler.telemetry import get_logger

log = get_logger(__name__)


class Cancellation:
    """Cancels executions; each call may be repeated.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(
        self,
        store: ExecutionStore,
        runs: RunIndex,
        definitions: Definitions,
        followers: Followers,
        settlement: Settlement,
        dispatcher: Dispatcher,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._runs = runs
        self._definitions = definitions
        self._followers = followers
        self._settlement = settlement
        self._dispatcher = dispatcher
        self._skew = timedelta(seconds=settings.max_clock_skew_seconds)
        self._clock = clock

    async def cancel(self, run: Run, by: str, reason: str) -> Run:
        """Ends an execution, or tells its steps that run to stop; one that has ended stays.

        `run` may be a coming one that is not stored yet: then it is, as one that never starts.
        A step that runs learns of it when its lease is next renewed; the step of a dead worker is
        closed at once. Where no more than cleaning up is left, nothing is cancelled.
        """
        request = CancelRequest(at=self._clock.now(), by=by, reason=reason)
        for pause in pauses():
            stored = await self._store.run(run.execution_id)
            try:
                if stored is None:
                    return await self._never_start(run, request)
                return await self._cancel(stored, request)
            except ConflictingWrite:
                await asyncio.sleep(pause)
        raise StorageUnavailable(f"{run.execution_id} changes all the time")

    async def cancel_all(self, job_id: str, by: str, reason: str) -> list[ExecutionId]:
        """Cancels the unfinished executions of a job, in every zone; returns their ids.

        Runs that are announced and not made yet are left to the start that finds no job.
        """
        found = []
        async for zone in self._dispatcher.zones_in_use():
            for execution_id in await self._runs.of_job(zone.queue, job_id):
                stored = await self._store.run(execution_id)
                if stored is not None and not stored.value.state.finished:
                    await self.cancel(stored.value, by, reason)
                    found.append(execution_id)
        return found

    async def _never_start(self, run: Run, request: CancelRequest) -> Run:
        never = ended_by(replace(run, cancel=request), RunEvent.IS_CANCELLED, request.at)
        await self._store.create(never)
        await self._settlement.settle(never)
        return never

    async def _cancel(self, stored: Stored[Run], request: CancelRequest) -> Run:
        before = stored.value
        if before.state.finished:
            await self._settlement.settle_again(before)
            return before
        job = await self._definition(before)
        if job is not None and is_done(before, job):
            return before
        running = await self._running(before, job)
        dead = {place: record for place, record in running.items() if self._is_dead(record)}
        if before.cancel is not None and not dead:
            return before
        run = replace(before, cancel=before.cancel or request)
        run, changes = _without(run, dead, request.at)
        changes += [tell_to_stop(run.key, place) for place in running if place not in dead]
        after = _advanced(run, job, request.at)
        saved = await self._store.go_on(after.run, stored.etag, changes)
        log.info("execution cancelled", extra={"action": "execution_cancelled"})
        await self._take_waits_back(before, after.run)
        await self._followers.follow(Recorded(after.run, saved.etag, after.ready))
        return after.run

    async def _definition(self, run: Run) -> Job | None:
        """Its job; None where the definition is lost: then all of its steps are given up."""
        try:
            return await self._definitions.load(run.job_id, run.definition)
        except DefinitionLost:
            log.warning("cancelled without its definition", extra={"action": "definition_lost"})
            return None

    async def _running(self, run: Run, job: Job | None) -> dict[int, StepRecord | None]:
        """The rows of the steps that are to stop, by place: those that run.

        Without a definition nobody can end what a step waits for: then those that wait as well.
        """
        stopping = (StepStatus.RUNNING, StepStatus.RUNNING if job else StepStatus.WAITING)
        places = [
            place
            for place, step in enumerate(run.steps)
            if step.status in stopping and (job is None or not goes_on(run, job, place))
        ]
        rows = await asyncio.gather(*(self._store.step(run.key, place) for place in places))
        return {
            place: row.value if row is not None else None
            for place, row in zip(places, rows, strict=True)
        }

    def _is_dead(self, record: StepRecord | None) -> bool:
        """Whether its worker is; one that died over outside work is taken over, to end that."""
        if record is None:
            return True
        if record.status is StepStatus.WAITING:
            return True
        over = record.lease_is_over(self._clock.now(), self._skew)
        return over and record.waiting_state is None

    async def _take_waits_back(self, before: Run, after: Run) -> None:
        for step, left in zip(before.steps, after.steps, strict=True):
            if step.wake_at is not None and step.wake_at != left.wake_at:
                message = step_message(before, step)
                await self._dispatcher.take_back(message, step.wake_at)


def _advanced(run: Run, job: Job | None, now: datetime) -> Advanced:
    if job is not None:
        return advanced(run, job, now, cancelled=True)
    return Advanced(run if run.runs_a_step else ended_by(run, RunEvent.IS_CANCELLED, now))


def _without(
    run: Run, dead: dict[int, StepRecord | None], now: datetime
) -> tuple[Run, list[Change]]:
    """The execution with the steps of dead workers closed."""
    changes: list[Change] = []
    for place, record in dead.items():
        closed = run.steps[place].after(StepEvent.IS_CANCELLED, fence=None, wake_at=None)
        run = run.with_step(place, closed)
        if record is not None:
            changes.append(replace_step(run.key, place, cancelled_record(record, now)))
    return run, changes
