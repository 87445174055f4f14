"""Watches every transaction on executions: each change has to be a move of the transition table.

After each transaction the rows are read, and compared with what they were. Of two transactions on
one execution at the same instant only the outcome of both is seen; tests that look closely let one
worker act after the other.
"""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from scheduler.execution.records import run_of, step_of
from scheduler.execution.rules.model import Attempt, Run, StepState
from scheduler.execution.rules.states import (
    RUN_MOVES,
    STEP_MOVES,
    RunEvent,
    RunState,
    StepEvent,
    StepStatus,
)
from scheduler.storage.tables import Row
from tests.storage.simulation import Simulation

_PARTITION = re.compile(rb"PartitionKey(?:=\'|\": ?\")([^\'\"]+)")
_RUNS = "r:"

type RunMove = tuple[RunState, RunEvent]
type StepMove = tuple[StepStatus, StepEvent]


class Moves:
    """What the executions of a simulation have been through.

    `runs` are the executions as they are now, by id; `of_runs` and `of_steps` the moves that were
    seen; `wrong` says what should never have been; `story` tells all, move by move.
    """

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._lock = asyncio.Lock()
        self._fences: dict[str, tuple[str, str, int, int]] = {}
        self._attempts: dict[tuple[str, str], tuple[Attempt, ...]] = {}
        self._leases: dict[str, datetime] = {}
        self._skew = timedelta(seconds=sim.settings.max_clock_skew_seconds)
        self.runs: dict[str, Run] = {}
        self.wrong: list[str] = []
        self.of_runs: set[RunMove] = set()
        self.of_steps: set[StepMove] = set()
        self.story: list[str] = []
        self.cleans_up: Callable[[Run, int], bool] = lambda run, place: False
        """Says which steps, by place, still run when their execution is to end early."""
        sim.wire.watcher = self._requested

    async def _requested(self, kind: str, request: Any) -> None:  # noqa: ANN401
        if kind != "Executions batch":
            return
        found = _PARTITION.search(bytes(request.content))
        assert found is not None
        async with self._lock:
            await self._look(found[1].decode())

    async def _look(self, job_id: str) -> None:
        rows = self._sim.storage.executions.query(job_id, _RUNS, "s;")
        found = {row.key: row async for row in rows}
        for key, row in found.items():
            if key.startswith(_RUNS):
                run = run_of(row)
                before = self.runs.get(run.execution_id)
                self.runs[run.execution_id] = run
                if run != before:
                    self._check(before or _nothing_yet(run), run)
                self._check_records(run, found)

    def note(self, text: str) -> None:
        """Adds something to the story."""
        self.story.append(f"{self._sim.clock.now():%H:%M:%S} {text}")

    def _complain(self, run: Run, what: str) -> None:
        self.note(f"WRONG: {run.execution_id} {what}")
        self.wrong.append(f"{run.execution_id} {what}")

    def _check(self, before: Run, after: Run) -> None:
        if before.state.finished:
            if _result(before) != _result(after):
                self._complain(after, f"changed after its end: {before} became {after}")
            return
        if before.state is RunState.PENDING and after.definition != before.definition:
            before = _nothing_yet(after)  # held, and let go by its job as that is now
        begun = self._check_steps(before.steps, after)
        began = bool(begun)
        if before.state is not after.state or began:
            moves = _moves(RUN_MOVES, before.state, after.state)
            self.of_runs.update(moves)
            self.note(f"{after.execution_id}: {before.state} to {after.state}")
            if not moves:
                self._complain(after, f"went from {before.state} to {after.state}")
        late = any(not self._may_begin_late(after, place) for place in begun)
        if late and before.cancel is not None:
            self._complain(after, "began a step when it was cancelled already")
        if late and after.progress_at >= after.deadline:
            self._complain(after, "began a step when its time was over already")
        for fault in _contradictions(after):
            self._complain(after, f"{fault}: {after}")

    def _may_begin_late(self, run: Run, place: int) -> bool:
        """Whether a step may begin though its execution is to end: to clean up, or to stop."""
        return bool(run.steps[place].looks) or self.cleans_up(run, place)

    def _check_steps(self, before: Sequence[StepState], after: Run) -> list[int]:
        """The places of the steps of which an attempt, or a look of one, began."""
        began = []
        for place, (old, new) in enumerate(zip(before, after.steps, strict=True)):
            if (old.status, old.attempt, old.looks) == (new.status, new.attempt, new.looks):
                if old.fence != new.fence:
                    self._complain(after, f"changed a fence: {old} became {new}")
                continue
            moves = _moves(STEP_MOVES, old.status, new.status)
            self.of_steps.update(moves)
            self.note(
                f"{after.execution_id}, {new.id}, {new.attempt}: {old.status} to {new.status}"
            )
            tries = (new.attempt, new.looks) > (old.attempt, old.looks) and new.copied is None
            began += [place] if tries else []
            if not moves or tries is not (new.status is StepStatus.RUNNING):
                self._complain(after, f"{old} became {new}")
            self._check_fence(after, new)
            self._check_time(after, old, new)
        return began

    def _check_time(self, run: Run, old: StepState, new: StepState) -> None:
        """No retry is early, and nobody is taken over whose lease was not over."""
        now = self._sim.clock.now()
        if new.status is not StepStatus.RUNNING:
            return
        if old.wake_at is not None and now < old.wake_at:
            self._complain(run, f"tried again too early: {old} became {new}")
        if old.fence is not None and now <= self._leases[old.fence] + self._skew:
            self._complain(run, f"took a living worker's step over: {old} became {new}")

    def _check_fence(self, run: Run, step: StepState) -> None:
        """A fence is of one attempt for ever."""
        if step.fence is not None:
            owner = (run.execution_id, step.id, step.attempt, step.looks)
            if self._fences.setdefault(step.fence, owner) != owner:
                self._complain(run, f"has the fence of {self._fences[step.fence]}: {step}")

    def _check_records(self, run: Run, rows: Mapping[str, Row]) -> None:
        """Every attempt is on record, and one that has ended never changes again."""
        for place, step in enumerate(run.steps):
            row = rows.get(run.key.step_row(place))
            if row is None:
                if step.attempt and step.copied is None:
                    self._complain(run, f"has no record of {step}")
                continue
            record = step_of(row)
            if record.fence is not None and record.lease_until is not None:
                self._leases[record.fence] = record.lease_until
            known = self._attempts.get((run.execution_id, step.id), ())
            closed = tuple(one for one in record.attempts if one.outcome != StepStatus.RUNNING)
            self._attempts[run.execution_id, step.id] = closed
            if closed[: len(known)] != known:
                self._complain(run, f"recorded anew: {known} became {closed}")
            runs = step.status in (StepStatus.RUNNING, StepStatus.WAITING)
            if (record.fence, len(closed)) != (step.fence, step.attempt - runs):
                self._complain(run, f"has records that differ: {step}, {record}")


def _moves[S, E](table: Mapping[tuple[S, E], S], before: S, after: S) -> list[tuple[S, E]]:
    """The moves that lead from one state to another: one at most, as the unit tests make sure."""
    return [move for move, target in table.items() if move[0] is before and target is after]


def _contradictions(run: Run) -> list[str]:
    """What cannot be true at once of an execution and its steps."""
    steps = run.steps
    begun = any(step.attempt for step in steps if step.copied is None)
    found = {
        "a fence and no attempt": any(
            (step.fence is None) is (step.status is StepStatus.RUNNING) for step in steps
        ),
        "a retry and no time": any((step.wake_at is None) is step.status.sleeps for step in steps),
        "sent, and not pending": any(
            step.sent and step.status is not StepStatus.PENDING for step in steps
        ),
        "pending, and has begun": run.state is RunState.PENDING and begun,
        "under way, and has not begun": run.state in (RunState.RUNNING, RunState.RETRYING)
        and not begun,
        "asleep, and runs": run.state is RunState.RETRYING and run.runs_a_step,
        "ended, and goes on": run.state.finished
        and not all(step.status.finished for step in steps),
        "ended, and says not when": run.state.finished is (run.end_time is None),
    }
    return [what for what, so in found.items() if so]


def _result(run: Run) -> tuple[object, ...]:
    return run.state, run.steps, run.start_time, run.end_time, run.message


def _nothing_yet(run: Run) -> Run:
    """The execution before its first transaction."""
    steps = tuple(StepState(id=step.id) for step in run.steps)
    return replace(run, state=RunState.PENDING, steps=steps)
