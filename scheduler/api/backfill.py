"""Backfill: the runs of a job's schedule in a span of the past that did not happen."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from scheduler.api.action_bodies import BackfillBody
from scheduler.api.runnable import Runnable
from scheduler.api.wire_model import read_model
from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.dispatch.ids import Trigger, backfill_id, parse_execution_id, scheduled_id
from scheduler.dispatch.run_index import RunIndex
from scheduler.errors import Conflict, InvalidRequest
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.states import RunState
from scheduler.execution.starting.manual import ManualStarts, RunRequest
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.model import Job
from scheduler.schedule.triggers import describe_run, instants
from scheduler.security.audit import AuditLog, Caller
from scheduler.security.principals import Principal

MAX_RUNS = 100
_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class _Past:
    """What there is of a job's runs: by instant, the states of its executions by their numbers.

    `arriving` are on their way; from `coming` on, the schedule has still to decide itself.
    """

    states: Mapping[datetime, Mapping[int, RunState]]
    arriving: Collection[str]
    coming: datetime | None

    def reason_to_leave_out(self, job_id: str, instant: datetime, *, rerun: bool) -> str | None:
        if self.coming is not None and instant >= self.coming:
            return "the schedule is still to decide about it (catch_up)"
        if scheduled_id(job_id, instant) in self.arriving:
            return "it is about to start"
        states = self.states.get(instant, {}).values()
        if any(not state.finished for state in states):
            return "it is unfinished"
        if not rerun and any(state is not RunState.SKIPPED for state in states):
            return "it has run; send rerun: true to run it again"
        return None

    def next_number(self, instant: datetime) -> int:
        return 1 + max(self.states.get(instant, {}), default=0)


class Backfills:
    """Runs what was missed."""

    def __init__(
        self,
        *,
        runnable: Runnable,
        catalog: Catalog,
        store: ExecutionStore,
        runs: RunIndex,
        starts: ManualStarts,
        dispatcher: Dispatcher,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._runnable = runnable
        self._catalog = catalog
        self._store = store
        self._runs = runs
        self._starts = starts
        self._dispatcher = dispatcher
        self._audit = audit
        self._clock = clock

    async def backfill(
        self, caller: Caller, principal: Principal, job_id: str, body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Starts the missed runs with from ≤ run < to, one after another unless overlap is allow.

        Raises:
            InvalidRequest: a field is wrong, or there are over 100 runs.
            NotFound: `job_not_found`.
            Conflict: `job_disabled`, `job_without_schedule`, `scheduler_stopped`.
        """
        span = read_model(BackfillBody, body, "a backfill")
        self._check(span)
        job, definition = await self._runnable.load(principal, job_id, force=span.force)
        wanted = _instants(job, span)
        past = await self._past(job, span, wanted)
        left_out = {
            instant: reason
            for instant in wanted
            if (reason := past.reason_to_leave_out(job.id, instant, rerun=span.rerun))
        }
        requests = [
            RunRequest(
                execution_id=backfill_id(job.id, instant, past.next_number(instant)),
                scheduled=instant,
            )
            for instant in wanted
            if instant not in left_out
        ]
        runs = (
            await self._starts.start(
                requests, job, definition, trigger=Trigger.BACKFILL, requested_by=principal.id
            )
            if requests
            else []
        )
        await self._audit.record(caller, "backfill_job", f"job:{job.id}")
        return _reply(job, runs, left_out)

    def _check(self, span: BackfillBody) -> None:
        if span.from_ >= span.to:
            raise InvalidRequest.of("/to", "out_of_range", "must be later than from")
        if span.to > self._clock.now():
            message = "must not be in the future: what is to come, the schedule runs by itself"
            raise InvalidRequest.of("/to", "out_of_range", message)

    async def _past(self, job: Job, span: BackfillBody, wanted: list[datetime]) -> _Past:
        if not wanted:
            return _Past({}, (), None)
        # In this order, in which a run goes: from the due row to the `run:` row to the execution.
        planned = await self._catalog.next_run(job.id)
        queue = self._dispatcher.queue_of(job.timezone)
        arriving = await self._runs.announced(queue, job.id, wanted[0], wanted[-1])
        states: dict[datetime, dict[int, RunState]] = {}
        async for execution_id, state in self._store.states(job.id, wanted[0], wanted[-1]):
            key = parse_execution_id(execution_id)
            if key is not None and not key.is_manual:
                states.setdefault(key.time, {})[key.backfill_number] = state
        return _Past(states, arriving, planned.nominal if planned else None)


def _instants(job: Job, span: BackfillBody) -> list[datetime]:
    if job.schedule is None:
        raise Conflict(
            f"the job {job.id!r} has no schedule, so no run of it was missed:"
            " run it with POST /api/v2/jobs/{id}/run",
            code="job_without_schedule",
        )
    found = instants(job.schedule, job.timezone, span.from_ - _MOMENT, span.to - _MOMENT)
    wanted = list(islice(found, MAX_RUNS + 1))
    if len(wanted) > MAX_RUNS:
        end = describe_run(wanted[MAX_RUNS], job.timezone)["local"]
        message = f"there are over {MAX_RUNS} runs in this span; write at most {end}, then go on"
        raise InvalidRequest.of("/to", "out_of_range", message)
    return wanted


def _reply(job: Job, runs: list[Run], left_out: Mapping[datetime, str]) -> dict[str, Any]:
    started = [
        {
            "execution_id": run.execution_id,
            "scheduled_time": describe_run(run.scheduled_time, job.timezone)["local"],
            "status": run.state,
        }
        for run in runs
    ]
    others = [
        {"scheduled_time": describe_run(instant, job.timezone)["local"], "reason": reason}
        for instant, reason in left_out.items()
    ]
    count = len(started)
    return {
        "message": f"{count} missed run{'' if count == 1 else 's'} of {job.id} started",
        "job_id": job.id,
        "timezone": job.timezone,
        "executions": started,
        "count": count,
        "left_out": others,
    }
