"""Claims a step for one attempt, and records how the attempt ended: the fenced writes.

A claim writes a fresh fence into run row and step row at once. A record is accepted only while the
run row still names its fence, so of a worker that was taken over nothing is recorded.
"""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.ids import ExecutionId
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.claim import Claim, Recorded
from scheduler.execution.rules.advance import advanced, ended_by
from scheduler.execution.rules.model import Attempt, Run, StepRecord, StepState
from scheduler.execution.rules.outcome import (
    LEFT_OUT_OF_TIME,
    Outcome,
    lost_attempts,
    record_after,
    step_after,
)
from scheduler.execution.rules.states import RunEvent, RunState, StepEvent, StepStatus
from scheduler.execution.rules.time_spent import out_of_time
from scheduler.execution.store import (
    ExecutionStore,
    Stored,
    claim_current,
    insert_step,
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

    async def claim_sent(self, execution_id: ExecutionId, job: Job, place: int) -> Claim | None:
        """Claims a step that was marked as sent, by the run row that this process knows.

        None when it knows none, or that row is old: then the row itself has to be read.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        async with self._store.latest.turn(execution_id):
            known = self._store.latest.get(execution_id)
            if known is None or not known.value.steps[place].sent:
                return None
            return await self.claim(known, job, place)

    async def take_over(
        self, stored: Stored[Run], job: Job, place: int, before: Stored[StepRecord]
    ) -> Claim | None:
        """Claims a step whose worker has died; None when another was faster, or it lives.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        run = stored.value
        now = self._clock.now()
        lost = before.value
        if lost.waiting_state is None:  # else the next look finds what the attempt began
            lost = replace(lost, attempts=lost_attempts(lost.attempts, now))
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
        looks = before is not None and before.waiting_state is not None
        begun = state.after(
            StepEvent.IS_TAKEN_OVER if taken_over else StepEvent.STARTS,
            attempt=state.attempt if looks else state.attempt + 1,
            looks=state.looks + 1 if looks else 0,
            interruptions=state.interruptions + taken_over,
            fence=secrets.token_hex(8),
            wake_at=None,
            wait_until=None,
            sent=False,
        )
        moved = run.after(
            RunEvent.STEP_STARTS, start_time=run.start_time or now, progress_at=now
        ).with_step(place, begun)
        spec = job.steps[place]
        attempts = before.attempts if before else ()
        if not looks:
            fresh = Attempt(number=begun.attempt, outcome=StepStatus.RUNNING, start_time=now)
            attempts = (*attempts, fresh)
        record = StepRecord(
            id=spec.id,
            name=spec.name,
            type=spec.type,
            status=StepStatus.RUNNING,
            attempts=attempts,
            fence=begun.fence,
            lease_until=now + timedelta(seconds=self._settings.lease_seconds),
            start_time=before.start_time if before else now,
            waiting_state=before.waiting_state if before else None,
        )
        return moved, record

    async def record(self, claim: Claim, outcome: Outcome) -> Recorded | None:
        """Records the end of an attempt, and what follows from it, in one transaction.

        None when the attempt no longer counts: its fence is not the run row's.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """

        def finish(run: Run, now: datetime) -> tuple[Run, dict[int, StepRecord]] | None:
            state = run.steps[claim.place]
            if state.fence != claim.state.fence:
                return None
            after = step_after(state, claim.spec, outcome, run.execution_id, now)
            record = record_after(claim.record, after.status, outcome, now)
            return _late(run, claim, after, now).with_step(claim.place, after), {
                claim.place: record
            }

        latest, execution_id = self._store.latest, claim.run.value.execution_id
        recorded = await self._advance(
            execution_id, lambda: latest.get(execution_id) or claim.run, claim.job, finish
        )
        if recorded is None or recorded.run.steps[claim.place].wake_at is None:
            return recorded
        return replace(recorded, retry=(claim.place,))

    async def advance(self, stored: Stored[Run], job: Job) -> Recorded | None:
        """Marks what may start next as sent, or ends the execution; None: nothing to do.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        execution_id = stored.value.execution_id
        return await self._advance(execution_id, lambda: stored, job, lambda run, _: (run, {}))

    async def expire(self, stored: Stored[Run]) -> Run | None:
        """Ends an execution whose time is up, whose definition is lost, and that runs no step.

        None when it changed. What its steps waited for is left to itself: nobody can end it.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        now, run = self._clock.now(), stored.value
        records = await self._store.steps(run.key) if run.start_time is not None else {}
        left = {
            place: record_after(record, StepStatus.TIMEOUT, LEFT_OUT_OF_TIME, now)
            for place, record in records.items()
            if record.status is StepStatus.WAITING
        }
        ended = ended_by(replace(run, out_of_time=True), RunEvent.RUNS_OUT_OF_TIME, now)
        ended = await self._with_time_spent(ended, left)
        changes = [replace_step(run.key, place, record) for place, record in left.items()]
        try:
            await self._store.go_on(ended, stored.etag, changes)
        except ConflictingWrite:
            return None
        return ended

    async def _advance(
        self,
        execution_id: ExecutionId,
        first: Callable[[], Stored[Run]],
        job: Job,
        apply: Callable[[Run, datetime], tuple[Run, dict[int, StepRecord]] | None],
    ) -> Recorded | None:
        """Changes an execution by the row as it is said to be, or else as it is."""
        guess: Callable[[], Stored[Run]] | None = first
        for pause in pauses():
            async with self._store.latest.turn(execution_id):
                try:
                    guessed, guess = guess, None
                    done = await self._advance_once(guessed(), job, apply) if guessed else None
                    if done is not None:
                        return done
                    # The guess may be old: only the row itself says that nothing is to be done.
                    return await self._advance_once(await self._store.run(execution_id), job, apply)
                except ConflictingWrite:
                    log.debug("a race was lost", extra={"action": "race_lost"})
            await asyncio.sleep(pause)
        raise StorageUnavailable(f"{execution_id} changes all the time")

    async def _advance_once(
        self,
        current: Stored[Run] | None,
        job: Job,
        apply: Callable[[Run, datetime], tuple[Run, dict[int, StepRecord]] | None],
    ) -> Recorded | None:
        if current is None or current.value.state.finished:
            return None
        now = self._clock.now()
        applied = apply(current.value, now)
        if applied is None:
            return None
        after, records = advanced(applied[0], job, now), applied[1]
        unchanged = replace(after.run, progress_at=current.value.progress_at) == current.value
        if not records and unchanged:
            return None
        run = await self._with_time_spent(after.run, records)
        changes = [replace_step(run.key, place, record) for place, record in records.items()]
        saved = await self._store.go_on(run, current.etag, changes)
        return Recorded(run, saved.etag, after.ready)

    async def _with_time_spent(self, run: Run, fresh: Mapping[int, StepRecord]) -> Run:
        """The execution; where it ran out of time, with the sentence that says on what."""
        if run.state is not RunState.TIMEOUT:
            return run
        known = await self._store.steps(run.key) if run.start_time is not None else {}
        return replace(run, message=out_of_time(run, {**known, **fresh}, run.progress_at))


def _late(run: Run, claim: Claim, step: StepState, now: datetime) -> Run:
    """The execution; out of time, where a step was just stopped, or failed, because of that."""
    tolerated = step.status is StepStatus.FAILED and claim.spec.continue_on_failure
    bad = step.status in (StepStatus.FAILED, StepStatus.TIMEOUT) and not tolerated
    late = bad and not claim.spec.cleans_up and not run.stopping and now >= run.deadline
    return replace(run, out_of_time=True) if late else run
