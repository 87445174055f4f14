"""Ends runs that our own code failed at too often, so that nothing waits for them for ever."""

from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import ZoneQueue
from scheduler.dispatch.ids import ExecutionKey, key_of
from scheduler.dispatch.run_index import Announcement, entry_of
from scheduler.execution.rules.advance import ended_by
from scheduler.execution.rules.model import Run, StepRecord, StepState
from scheduler.execution.rules.outcome import Outcome, record_after
from scheduler.execution.rules.states import RunEvent, StepEvent, StepStatus
from scheduler.execution.settle import Settlement
from scheduler.execution.store import ExecutionStore, Stored, replace_step
from scheduler.execution.upkeep.aside import Aside
from scheduler.execution.upkeep.failures import PASSING, FailureCount, Failures, failures_of
from scheduler.settings import Settings
from scheduler.storage.tables import Change, Row
from scheduler.telemetry import get_logger

log = get_logger(__name__)


class GivenUp:
    """Fails executions whose messages cannot be handled; what it cannot even read is put aside."""

    def __init__(
        self,
        *,
        store: ExecutionStore,
        settlement: Settlement,
        failures: Failures,
        aside: Aside,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._store = store
        self._settlement = settlement
        self._failures = failures
        self._aside = aside
        self._skew = timedelta(seconds=settings.max_clock_skew_seconds)
        self._clock = clock

    async def end(self, zone: ZoneQueue, row: Row) -> bool:
        """Ends the run of a `run:` row; False when it may go on: it has moved on, or runs a step.

        Raises:
            StorageUnavailable: storage cannot be reached.
            ConflictingWrite: something of it has changed meanwhile: look again.
        """
        try:
            return await self._end(zone, row, failures_of(row))
        except PASSING:
            raise
        except Exception as error:
            log.exception("a run cannot even be ended", extra={"action": "give_up_failed"})
            reason = failures_of(row).text or f"{type(error).__name__}: {error}"
            await self._aside.put_run(zone, row, reason)
            return True

    async def _end(self, zone: ZoneQueue, row: Row, failures: FailureCount) -> bool:
        announced = entry_of(row).announcement
        stored = await self._store.run(announced.execution_id)
        if stored is None:
            ended = await self._never_made(announced, failures)
        elif stored.value.state.finished:
            ended = stored.value
        elif failures.is_before(stored.value.progress_at):
            await self._failures.forget(zone.queue, row)
            return False
        elif await self._works(stored.value):
            return False
        else:
            ended = await self._failed(stored, failures)
        log.error(
            "a run is given up: %s",
            failures.text,
            extra={"action": "run_given_up", "error_code": "poison_message"},
        )
        await self._settlement.settle_again(ended)
        return True

    async def _works(self, run: Run) -> bool:
        """Whether a living worker runs one of its steps: what it does is to count."""
        now = self._clock.now()
        for place, step in enumerate(run.steps):
            if step.status is StepStatus.RUNNING:
                record = await self._record(run.key, place, step)
                if record is not None and not record.lease_is_over(now, self._skew):
                    return True
        return False

    async def _never_made(self, announced: Announcement, failures: FailureCount) -> Run:
        """The execution of a run that could not even begin."""
        now = self._clock.now()
        run = Run(
            execution_id=announced.execution_id,
            job_name=key_of(announced.execution_id).job_id,
            timezone=announced.timezone,
            definition="",
            trigger=announced.trigger,
            scheduled_time=announced.scheduled,
            created_at=now,
            deadline=now,
            progress_at=now,
            steps=(),
            message=_told(failures),
        )
        failed = ended_by(run, RunEvent.FAILS, now)
        await self._store.create(failed)
        return failed

    async def _failed(self, stored: Stored[Run], failures: FailureCount) -> Run:
        run, now = replace(stored.value, message=_told(failures)), self._clock.now()
        changes: list[Change] = []
        for place, step in enumerate(run.steps):
            if step.status is not StepStatus.RUNNING and not step.status.sleeps:
                continue
            record = await self._record(run.key, place, step)
            if record is not None:
                closed = _closed(record, step, run.message, now)
                changes.append(replace_step(run.key, place, closed))
            if step.status is StepStatus.RUNNING:
                over = step.after(StepEvent.FAILS, fence=None, failures=step.failures + 1)
                run = run.with_step(place, over)
        failed = ended_by(run, RunEvent.FAILS, now)
        return (await self._store.go_on(failed, stored.etag, changes)).value

    async def _record(self, key: ExecutionKey, place: int, step: StepState) -> StepRecord | None:
        """A step's row; an empty one in the place of a row that cannot be read."""
        try:
            stored = await self._store.step(key, place)
        except PASSING:
            raise
        except Exception:
            log.exception("a step's row cannot be read", extra={"action": "step_unreadable"})
        else:
            return stored.value if stored is not None else None
        return StepRecord(
            id=step.id,
            name=step.id,
            type="",
            status=step.status,
            attempts=(),
            fence=None,
            lease_until=None,
        )


def _told(failures: FailureCount) -> str:
    return (
        f"poison_message: the scheduler itself failed at this execution {failures.count} times in a"
        f" row, the last time with: {failures.text}"
    )


def _closed(record: StepRecord, step: StepState, message: str, now: datetime) -> StepRecord:
    outcome = Outcome(error_code="poison_message", error_message=message)
    if step.status in (StepStatus.RUNNING, StepStatus.WAITING):
        return record_after(record, StepStatus.FAILED, outcome, now)
    return replace(
        record,
        status=StepStatus.FAILED,
        error_code=outcome.error_code,
        error_message=outcome.error_message,
    )
