"""What has to be true of a scheduler at every moment, and what once all is over."""

from collections import Counter
from datetime import datetime

from scheduler.execution.rules.model import Run
from scheduler.execution.rules.states import RunState, StepStatus
from tests.storage.drawn_jobs import DrawnJob
from tests.storage.moves import Moves
from tests.storage.simulation import Simulation

CUT_OFF = (RunState.CANCELLED, RunState.TIMEOUT, RunState.SKIPPED)


class Promises:
    """Those of one simulation: of its `jobs`, and of the runs that are `coming` by schedule."""

    def __init__(self, sim: Simulation, moves: Moves, slots: int) -> None:
        self._sim = sim
        self._moves = moves
        self._most_slots = self.slots = slots
        self.jobs: dict[str, DrawnJob] = {}
        self.coming: dict[str, datetime] = {}
        moves.cleans_up = self._cleans_up

    async def hold(self) -> None:
        """Checks what has to be true at every moment.

        Raises:
            AssertionError: something is not.
        """
        assert self._moves.wrong == []
        assert self._sim.host.crashes == []
        assert self._sim.failures == []
        begun = Counter(
            (one.execution_id, one.step, one.attempt)
            for one in self._sim.script.ran
            if one.state is None
        )
        assert [one for one, times in begun.items() if times > 1] == []
        early = [
            one
            for one in self._sim.script.ran
            if one.at < self.coming.get(one.execution_id, one.at)
        ]
        assert early == []
        self._check_overlap()
        for run in self._moves.runs.values():
            if run.state is not RunState.SKIPPED:
                self._check_graph(run)
        await self._check_slots()

    async def _check_slots(self) -> None:
        """Of a zone no more run than it has slots, each with one of its own."""
        queue = self._sim.app.dispatcher.queue_of("UTC")
        rows = self._sim.storage.zones.query(queue, "slot:", "slot;")
        slots = {row.key: str(row.values["execution_id"]) async for row in rows}
        assert len(slots) <= max(self.slots, self._most_slots), slots
        self._most_slots = len(slots)
        for run in self._moves.runs.values():
            if run.runs_a_step and not self._only_ends(run):
                assert slots.get(run.slot or "") == run.execution_id, (run, slots)

    def _only_ends(self, run: Run) -> bool:
        """Whether all that it does is to end what its steps wait for: that needs no slot."""
        over = run.stopping or self._sim.clock.now() >= run.deadline
        running = [step for step in run.steps if step.status is StepStatus.RUNNING]
        return over and all(step.looks for step in running)

    def _cleans_up(self, run: Run, place: int) -> bool:
        """Whether a step may begin though its execution is to end early."""
        return self.jobs[run.job_id].cleans_up(place)

    def _check_overlap(self) -> None:
        """Of a job whose runs do not overlap at most one is under way."""
        under_way = Counter(
            run.job_id
            for run in self._moves.runs.values()
            if run.overlap != "allow" and not run.state.finished
            if any(step.attempt for step in run.steps)
        )
        assert all(count == 1 for count in under_way.values()), under_way

    def _check_graph(self, run: Run) -> None:
        """What has begun was allowed to, and no more at once than may run side by side."""
        job = self.jobs[run.job_id]
        for place, step in enumerate(run.steps):
            if step.attempt:
                assert job.may_start(place, run.steps, out_of_time=run.out_of_time), (step, run)
        busy = sum(step.status is StepStatus.RUNNING for step in run.steps)
        assert busy <= job.fields["max_parallel"], run

    async def are_kept(self) -> None:
        """Checks what has to be true once all is over.

        Raises:
            AssertionError: something is not.
        """
        await self.hold()
        await self._sim.assert_nothing_left()
        assert self.coming.keys() <= self._moves.runs.keys()
        for run in self._moves.runs.values():
            self._check_end(run)
            await self._check_attempts(run)

    def _check_end(self, run: Run) -> None:
        job = self.jobs[run.job_id]
        assert run.state.finished, run
        if run.state is RunState.CANCELLED:
            assert run.cancel is not None, run
        elif run.state is RunState.TIMEOUT:
            assert run.end_time is not None, run
            assert run.end_time >= run.deadline, run
        elif run.state is not RunState.SKIPPED:
            assert run.state == job.end(run.steps), run
        if run.state not in CUT_OFF:
            for place, step in enumerate(run.steps):
                skipped = step.status is StepStatus.SKIPPED
                assert skipped is not job.may_start(place, run.steps), (step, run)

    async def _check_attempts(self, run: Run) -> None:
        """Each step that counts as done did its work once in the attempt that counts."""
        body = await self._sim.read(run.execution_id)
        assert body["status"] == run.state
        for step in body["steps"]:
            outcomes = [one["outcome"] for one in step.get("attempt_history") or ()]
            where = (run.execution_id, step["step_id"], outcomes)
            assert outcomes.count("success") == (step["status"] == StepStatus.SUCCESS), where
            assert "running" not in outcomes, where
            assert self._sim.script.times(*where[:2]) <= len(outcomes), where
