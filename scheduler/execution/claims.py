"""Claims a step for one attempt, and records how the attempt ended: the fenced writes.

A claim writes a fresh fence into run row and step row at once. A record is accepted only while the
run row still names its fence, so of a worker that was taken over nothing is recorded.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.claim import Claim, Recorded
from scheduler.execution.graph import Graph, Progress
from scheduler.execution.model import Attempt, Run, StepRecord, StepState
from scheduler.execution.outcome import Outcome, lost_attempts, record_after, step_after
from scheduler.execution.states import RunEvent, RunState, StepEvent, StepStatus
from scheduler.execution.store import (
    ExecutionStore,
    Stored,
    claim_current,
    insert_step,
    leave_current,
    replace_step,
)
from scheduler.jobs.model import Job
from scheduler.settings import Settings
from scheduler.storage.contention import pauses
from scheduler.storage.tables import Change
from scheduler.telemetry import get_logger

log = get_logger(__name__)


class Claims:
    """The only writer of attempts."""

    def __init__(self, store: ExecutionStore, settings: Settings, clock: Clock) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock

    async def create(self, run: Run, job: Job, place: int) -> Claim | None:
        """Makes an execution and claims its first step, in one transaction.

        None when it exists already, or when it would be its job's active one and another is.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        begun, record = self._begin(run, job, place, None)
        changes: list[Change] = [insert_step(run.key, place, record)]
        if run.holds_current:
            changes.append(claim_current(run))
        try:
            stored = await self._store.create(begun, changes)
        except ConflictingWrite:
            return None
        return Claim(run=stored, job=job, place=place, record=record, step_etag=stored.others[0])

    async def claim(self, stored: Stored[Run], job: Job, place: int) -> Claim | None:
        """Claims a step that is pending or due for a retry; None when another was faster.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        run = stored.value
        if run.steps[place].attempt == 0:
            begun, record = self._begin(run, job, place, None)
            change = insert_step(run.key, place, record)
        else:
            before = await self._store.step(run.key, place)
            begun, record = self._begin(run, job, place, before.value if before else None)
            change = replace_step(run.key, place, record, before.etag if before else None)
        return await self._write(begun, stored.etag, job, place, record, change)

    async def take_over(
        self, stored: Stored[Run], job: Job, place: int, before: Stored[StepRecord]
    ) -> Claim | None:
        """Claims a step whose worker has died; None when another was faster, or it lives.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        run = stored.value
        now = self._clock.now()
        lost = replace(before.value, attempts=lost_attempts(before.value.attempts, now))
        begun, record = self._begin(run, job, place, lost)
        change = replace_step(run.key, place, record, before.etag)
        return await self._write(begun, stored.etag, job, place, record, change)

    async def _write(
        self, run: Run, etag: str, job: Job, place: int, record: StepRecord, change: Change
    ) -> Claim | None:
        try:
            stored = await self._store.save(run, etag, [change])
        except ConflictingWrite:
            return None
        return Claim(run=stored, job=job, place=place, record=record, step_etag=stored.others[0])

    def _begin(
        self, run: Run, job: Job, place: int, before: StepRecord | None
    ) -> tuple[Run, StepRecord]:
        now = self._clock.now()
        state = run.steps[place]
        taken_over = state.status is StepStatus.RUNNING
        begun = state.after(
            StepEvent.IS_TAKEN_OVER if taken_over else StepEvent.STARTS,
            attempt=state.attempt + 1,
            interruptions=state.interruptions + taken_over,
            fence=secrets.token_hex(8),
            wake_at=None,
            sent=False,
        )
        moved = run.after(
            RunEvent.STEP_STARTS, start_time=run.start_time or now, progress_at=now
        ).with_step(place, begun)
        spec = job.steps[place]
        record = StepRecord(
            id=spec.id,
            name=spec.name,
            type=spec.type,
            status=StepStatus.RUNNING,
            attempts=(
                *(before.attempts if before else ()),
                Attempt(number=begun.attempt, outcome=StepStatus.RUNNING, start_time=now),
            ),
            fence=begun.fence,
            lease_until=now + timedelta(seconds=self._settings.lease_seconds),
            start_time=before.start_time if before else now,
        )
        return moved, record

    async def record(self, claim: Claim, outcome: Outcome) -> Recorded | None:
        """Records the end of an attempt, and what follows from it, in one transaction.

        None when the attempt no longer counts: its fence is not the run row's.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """

        def finish(run: Run, now: datetime) -> tuple[Run, list[Change]] | None:
            state = run.steps[claim.place]
            if state.fence != claim.state.fence:
                return None
            after = step_after(state, claim.spec, outcome, run.execution_id, now)
            record = record_after(claim.record, after.status, outcome, now)
            change = replace_step(run.key, claim.place, record)
            return run.with_step(claim.place, after), [change]

        recorded = await self._advance(claim.run, claim.job, finish)
        if recorded is None or recorded.run.steps[claim.place].wake_at is None:
            return recorded
        return replace(recorded, retry=(claim.place,))

    async def advance(self, stored: Stored[Run], job: Job) -> Recorded | None:
        """Marks what may start next as sent, or ends the execution; None: nothing to do.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        return await self._advance(stored, job, lambda run, _: (run, []))

    async def expire(self, stored: Stored[Run]) -> Run | None:
        """Ends an execution whose time is up and none of whose steps runs; None when it changed.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        now = self._clock.now()
        run = stored.value
        ended = replace(
            run.after(RunEvent.RUNS_OUT_OF_TIME, end_time=now, progress_at=now),
            steps=tuple(_given_up(step) for step in run.steps),
            message=_out_of_time(run),
        )
        changes: list[Change] = [leave_current()] if run.holds_current else []
        try:
            await self._store.save(ended, stored.etag, changes)
        except ConflictingWrite as error:
            if error.index == 0:
                return None
            # Its mark as the active run is gone already.
            return await self.expire(Stored(replace(run, holds_current=False), stored.etag))
        return ended

    async def _advance(
        self,
        stored: Stored[Run],
        job: Job,
        apply: Callable[[Run, datetime], tuple[Run, list[Change]] | None],
    ) -> Recorded | None:
        current: Stored[Run] | None = stored
        steps_back = True
        for pause in pauses():
            if current is None or current.value.state.finished:
                return None
            now = self._clock.now()
            applied = apply(current.value, now)
            if applied is None:
                return None
            progress = Graph(job).progress(applied[0].steps)
            run = self._moved(applied[0], progress, now)
            changes = applied[1]
            if not changes and replace(run, progress_at=current.value.progress_at) == current.value:
                return None
            if run.state.finished and run.holds_current and steps_back:
                changes = [*changes, leave_current()]
            try:
                await self._store.save(run, current.etag, changes)
            except ConflictingWrite as error:
                steps_back = error.index <= len(applied[1])
                await asyncio.sleep(pause)
                current = await self._store.run(run.execution_id)
                continue
            return Recorded(run, progress.ready)
        raise StorageUnavailable(f"{stored.value.execution_id} changes all the time")

    def _moved(self, run: Run, progress: Progress, now: datetime) -> Run:
        steps = tuple(
            replace(step, sent=True) if place in progress.ready else step
            for place, step in enumerate(progress.steps)
        )
        moved = replace(run, steps=steps, progress_at=now)
        if progress.end is RunEvent.FAILS and now >= moved.deadline:
            return moved.after(RunEvent.RUNS_OUT_OF_TIME, end_time=now, message=_out_of_time(moved))
        if progress.end is not None:
            return moved.after(progress.end, end_time=now)
        asleep = not progress.ready and all(not _awake(step) for step in steps)
        if asleep and moved.state is RunState.RUNNING:
            moved = moved.after(RunEvent.ALL_SLEEP)
        return moved


def _out_of_time(run: Run) -> str:
    seconds = (run.deadline - run.created_at).total_seconds()
    return f"the job's timeout_seconds of {seconds:g} passed before its steps were done"


def _given_up(step: StepState) -> StepState:
    match step.status:
        case StepStatus.PENDING:
            return step.after(StepEvent.IS_SKIPPED, sent=False)
        case StepStatus.RETRYING:
            return step.after(StepEvent.RUNS_OUT_OF_TIME, wake_at=None)
        case _:
            return step


def _awake(step: StepState) -> bool:
    return step.status is StepStatus.RUNNING or step.sent
