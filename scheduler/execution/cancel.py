"""Cancels executions: what does not run ends at once, what runs is told to stop."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.followers import step_message
from scheduler.execution.rules.advance import stopped
from scheduler.execution.rules.model import CancelRequest, Run, StepRecord
from scheduler.execution.rules.outcome import cancelled_record
from scheduler.execution.rules.states import RunEvent, StepEvent, StepStatus
from scheduler.execution.settle import Settlement
from scheduler.execution.store import ExecutionStore, Stored, replace_step, tell_to_stop
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
        settlement: Settlement,
        dispatcher: Dispatcher,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._settlement = settlement
        self._dispatcher = dispatcher
        self._skew = timedelta(seconds=settings.max_clock_skew_seconds)
        self._clock = clock

    async def cancel(self, run: Run, by: str, reason: str) -> Run:
        """Ends an execution, or tells its steps that run to stop; one that has ended stays.

        `run` may be a coming one that is not stored yet: then it is, as one that never starts.
        A step that runs learns of it when its lease is next renewed; the step of a dead worker is
        closed at once.
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

    async def _never_start(self, run: Run, request: CancelRequest) -> Run:
        never = stopped(replace(run, cancel=request), RunEvent.IS_CANCELLED, request.at)
        await self._store.create(never)
        await self._settlement.settle(never)
        return never

    async def _cancel(self, stored: Stored[Run], request: CancelRequest) -> Run:
        before = stored.value
        if before.state.finished:
            await self._settlement.settle_again(before)
            return before
        running = await self._running(before)
        dead = {place: record for place, record in running.items() if self._is_dead(record)}
        if before.cancel is not None and not dead:
            return before
        run = replace(before, cancel=before.cancel or request)
        run, changes = _without(run, dead, request.at)
        alive = [place for place in running if place not in dead]
        changes += [tell_to_stop(run.key, place) for place in alive]
        run = stopped(run, RunEvent.IS_CANCELLED, request.at)
        await self._store.go_on(run, stored.etag, changes)
        log.info("execution cancelled", extra={"action": "execution_cancelled"})
        await self._take_waits_back(before)
        if run.state.finished:
            await self._settlement.settle(run)
        return run

    async def _running(self, run: Run) -> dict[int, StepRecord | None]:
        """The rows of the steps that run, by place."""
        places = [
            place for place, step in enumerate(run.steps) if step.status is StepStatus.RUNNING
        ]
        rows = await asyncio.gather(*(self._store.step(run.key, place) for place in places))
        return {
            place: row.value if row is not None else None
            for place, row in zip(places, rows, strict=True)
        }

    def _is_dead(self, record: StepRecord | None) -> bool:
        return record is None or record.lease_is_over(self._clock.now(), self._skew)

    async def _take_waits_back(self, run: Run) -> None:
        for step in run.steps:
            if step.wake_at is not None:
                message = step_message(run, step)
                await self._dispatcher.take_back(message, step.wake_at)


def _without(
    run: Run, dead: dict[int, StepRecord | None], now: datetime
) -> tuple[Run, list[Change]]:
    """The execution with the steps of dead workers closed."""
    changes: list[Change] = []
    for place, record in dead.items():
        run = run.with_step(place, run.steps[place].after(StepEvent.IS_CANCELLED, fence=None))
        if record is not None:
            changes.append(replace_step(run.key, place, cancelled_record(record, now)))
    return run, changes
