"""Runs one attempt of a step, or one look of it, within its time; tells how it ended."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta

from scheduler.clock import Clock
from scheduler.execution.attempts.calls import End, StepCalls, crashed
from scheduler.execution.attempts.context import AttemptContext, context_of
from scheduler.execution.attempts.lease import Lease
from scheduler.execution.attempts.outputs import Outputs, storable
from scheduler.execution.claim import Claim
from scheduler.execution.rules.advance import goes_on
from scheduler.execution.rules.outcome import Outcome
from scheduler.jobs.model import LONGEST_CALL_SECONDS
from scheduler.security.redaction import Redactor
from scheduler.settings import Settings
from scheduler.telemetry import get_logger
from steps.contract import MAX_STATE_BYTES, NotStopped, Pending, StepResult

log = get_logger(__name__)
_UNKNOWN = "it did not stop, so what it did outside is unknown"
_SHORTEST_WAIT_SECONDS = 1


class Attempts:
    """Runs claimed attempts."""

    def __init__(
        self,
        calls: StepCalls,
        outputs: Outputs,
        redactor: Redactor,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._calls = calls
        self._outputs = outputs
        self._redactor = redactor
        self._settings = settings
        self._grace_seconds = 2 * settings.cancel_grace_seconds
        self._clock = clock

    async def run(self, claim: Claim, lease: Lease) -> Outcome | None:
        """Runs an attempt to its end, or to its next wait; None when its lease was lost."""
        context = context_of(claim, lease, self._settings)
        if self._is_to_stop(claim, context):
            outcome: End = await self._end_waiting(claim, context)
        else:
            outcome = await self._guarded(claim, context)
        if outcome is None or lease.lost.is_set():
            return None
        if isinstance(outcome, StepResult):
            return await self._outputs.outcome(claim, outcome)
        if isinstance(outcome, Pending):
            outcome = self._waiting(claim, context, outcome)
        if isinstance(outcome, NotStopped):
            outcome = crashed(claim, "NotStopped")
        message = storable(self._redactor.text(outcome.error_message))
        metadata = self._outputs.metadata(outcome.metadata)
        return replace(outcome, error_message=message, metadata=metadata)

    def _is_to_stop(self, claim: Claim, context: AttemptContext) -> bool:
        """Whether a step that waits is not to be looked at any more, but to be ended."""
        if claim.record.waiting_state is None:
            return False
        run = claim.run.value
        given_up = run.stopping and not goes_on(run, claim.job, claim.place)
        return given_up or self._clock.now() >= context.deadline

    async def _guarded(self, claim: Claim, context: AttemptContext) -> End:
        left = (context.deadline - self._clock.now()).total_seconds()
        lease, seconds = context.lease, min(max(left, 0), LONGEST_CALL_SECONDS)
        work = asyncio.create_task(self._calls.run(claim, context))
        try:
            await asyncio.wait(
                {work, lease.gone, lease.told_to_stop},
                timeout=seconds,
                return_when="FIRST_COMPLETED",
            )
        except asyncio.CancelledError:
            # The process is ending: the step gets its time to undo what it began.
            work.cancel()
            await asyncio.wait({work}, timeout=self._grace_seconds)
            raise
        if not work.done():
            return await self._stop(claim, work, context)
        if work.cancelled():
            return crashed(claim, "CancelledError")
        result = work.result()
        return _cancelled() if result is None and lease.cancelled.is_set() else result

    async def _stop(self, claim: Claim, work: asyncio.Task[End], context: AttemptContext) -> End:
        """Ends a step whose time is up, whose lease is lost, or that is to be cancelled.

        A step that succeeds all the same counts.
        """
        context.cancelled.set()
        work.cancel()
        done, _ = await asyncio.wait({work}, timeout=self._grace_seconds)
        if not done:
            work.add_done_callback(_forget)
        if context.lease.lost.is_set():
            return None
        result = work.result() if done and not work.cancelled() else None
        if isinstance(result, StepResult):
            return result
        if isinstance(result, Pending) or claim.record.waiting_state is not None:
            if isinstance(result, Pending):
                context.state = result.state
            return await self._end_waiting(claim, context)
        if isinstance(result, Outcome) and not context.lease.cancelled.is_set():
            return result
        return self._over(claim, context, _left_open(result, done=bool(done)))

    async def _end_waiting(self, claim: Claim, context: AttemptContext) -> Outcome | None:
        """Has the outside work of an attempt ended whose time is up, or that is cancelled."""
        context.cancelled.set()
        work = asyncio.create_task(self._calls.stop(claim, context))
        done, _ = await asyncio.wait(
            {work, context.lease.gone},
            timeout=self._grace_seconds,
            return_when="FIRST_COMPLETED",
        )
        if work not in done:
            work.cancel()
            work.add_done_callback(_forget)
        if context.lease.lost.is_set():
            return None
        result = work.result() if work in done else None
        return self._over(claim, context, _left_open(result, done=work in done))

    def _over(self, claim: Claim, context: AttemptContext, left_open: str) -> Outcome:
        """The outcome of a step that was stopped before it had come to its own end."""
        run = claim.run.value
        spared = goes_on(run, claim.job, claim.place)
        if context.lease.cancelled.is_set() or (run.cancel is not None and not spared):
            return _cancelled(left_open)
        began = claim.record.attempts[-1].start_time
        allowed = round((context.deadline - began).total_seconds(), 1)
        limit = f"its timeout of {allowed:g} s"
        if context.deadline == run.deadline:
            limit = f"{allowed:g} s, for the job's timeout_seconds were over"
        elif allowed > LONGEST_CALL_SECONDS and claim.record.waiting_state is None:
            limit = f"{LONGEST_CALL_SECONDS} s, the most that one call may take"
        return Outcome(
            error_code="step_timeout",
            error_message=f"the step was stopped after {limit}{left_open}",
            retryable=True,
            timed_out=True,
        )

    def _waiting(self, claim: Claim, context: AttemptContext, pending: Pending) -> Outcome:
        """The outcome of a look after which the attempt waits on."""
        try:
            state = json.dumps(pending.state, ensure_ascii=False, separators=(",", ":"))
            size = len(state.encode())
            left = (context.deadline - self._clock.now()).total_seconds()
            seconds = min(pending.check_in_seconds, max(left, 0))
            wait = timedelta(seconds=max(seconds, min(_SHORTEST_WAIT_SECONDS, max(left, 0))))
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            log.exception("what a step waits with is no JSON", extra={"action": "step_crashed"})
            return crashed(claim, f"{type(error).__name__} in Pending")
        if size > MAX_STATE_BYTES:
            log.error("the state of a step is too large", extra={"action": "step_crashed"})
            return crashed(claim, f"a Pending state of {size} bytes, over {MAX_STATE_BYTES}")
        return Outcome(
            look_at=self._clock.now() + wait,
            wait_until=context.deadline,
            waiting_state=state,
            metadata=pending.metadata,
        )


def _cancelled(left_open: str = "") -> Outcome:
    return Outcome(
        error_code="step_cancelled",
        error_message=f"the step was stopped, for the execution was cancelled{left_open}",
        cancelled=True,
    )


def _left_open(result: End, *, done: bool) -> str:
    """What a step that was told to stop says of its end, as the rest of a sentence."""
    if not done:
        return f"; {_UNKNOWN}"
    if isinstance(result, Outcome):
        return f"; {result.error_message}"
    return f"; {result}" if result is not None else ""


def _forget(work: "asyncio.Task[End] | asyncio.Task[Outcome | NotStopped | None]") -> None:
    """Takes note of how a step ended that was given up, so that nothing is left unretrieved."""
    if not work.cancelled():
        log.info(
            "a step that was given up has ended: %s",
            work.exception() or "late",
            extra={"action": "late_end"},
        )
