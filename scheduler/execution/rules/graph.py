"""Which steps come next, and how an execution ends: decided from the steps' states alone."""

from dataclasses import dataclass
from functools import cached_property

from scheduler.execution.rules.model import StepState
from scheduler.execution.rules.states import RunEvent, StepEvent, StepStatus
from scheduler.jobs.model import Job, RunIf, StepId

_BAD = frozenset({StepStatus.FAILED, StepStatus.TIMEOUT, StepStatus.CANCELLED})
_BUSY = frozenset({StepStatus.RUNNING, StepStatus.RETRYING, StepStatus.WAITING})


@dataclass(frozen=True, slots=True)
class Progress:
    """What to do next.

    `steps`: the states with the unreachable steps skipped; `ready`: the places whose messages are
    to be sent now; `end`: how the execution ends, when nothing is left to do.
    """

    steps: tuple[StepState, ...]
    ready: tuple[int, ...]
    end: RunEvent | None


class Graph:
    """Who waits for whom among a job's steps.

    Without any `depends_on` each waits for the one before.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    @cached_property
    def _parents(self) -> tuple[tuple[int, ...], ...]:
        steps = self._job.steps
        places = {step.id: place for place, step in enumerate(steps)}
        if any(step.depends_on is not None for step in steps):
            return tuple(tuple(places[id] for id in step.depends_on or ()) for step in steps)
        return tuple((place - 1,) if place else () for place in range(len(steps)))

    def parents(self, place: int) -> tuple[int, ...]:
        """The places of the steps that a step waits for."""
        return self._parents[place]

    @property
    def in_order(self) -> tuple[int, ...]:
        """All places, each after those that it waits for."""
        places = range(len(self._job.steps))
        return tuple(sorted(places, key=lambda place: len(self._ancestors[place])))

    @cached_property
    def _ancestors(self) -> tuple[frozenset[int], ...]:
        found: dict[int, frozenset[int]] = {}

        def ancestors(place: int) -> frozenset[int]:
            if place not in found:
                parents = self._parents[place]
                found[place] = frozenset(parents).union(*(ancestors(p) for p in parents))
            return found[place]

        return tuple(ancestors(place) for place in range(len(self._job.steps)))

    def progress(self, steps: tuple[StepState, ...], *, out_of_time: bool = False) -> Progress:
        """Decides what follows from the steps' states; `out_of_time` counts as a failure."""
        states = list(steps)
        ready = self._settle_pending(states, out_of_time)
        unsent = [place for place in ready if not states[place].sent]
        busy = sum(state.status in _BUSY for state in states) + len(ready) - len(unsent)
        room = max(0, self._job.max_parallel - busy)
        end = None if busy or ready else self._end(states)
        return Progress(tuple(states), tuple(unsent[:room]), end)

    def startable(
        self, place: int, steps: tuple[StepState, ...], *, out_of_time: bool = False
    ) -> bool:
        """Whether a pending step may start: those before it are done, and its `run_if` holds."""
        states = list(steps)
        return self._parents_done(place, states) and self._wanted(place, states, out_of_time)

    def failed_before(self, place: int, steps: tuple[StepState, ...]) -> tuple[StepState, ...]:
        """The steps before one, at any distance, for whose failure it is not to run."""
        states = list(steps)
        return tuple(
            states[one] for one in sorted(self._ancestors[place]) if self._failed(one, states)
        )

    def _settle_pending(self, states: list[StepState], out_of_time: bool) -> list[int]:
        """Skips what can never run, to the last consequence; returns what may run."""
        while True:
            ready: list[int] = []
            skipped = False
            for place, state in enumerate(states):
                if state.status is not StepStatus.PENDING or not self._parents_done(place, states):
                    continue
                if self._wanted(place, states, out_of_time):
                    ready.append(place)
                else:
                    states[place] = state.after(StepEvent.IS_SKIPPED)
                    skipped = True
            if not skipped:
                return ready

    def _parents_done(self, place: int, states: list[StepState]) -> bool:
        return all(states[parent].status.finished for parent in self._parents[place])

    def _wanted(self, place: int, states: list[StepState], out_of_time: bool) -> bool:
        failed = any(self._failed(ancestor, states) for ancestor in self._ancestors[place])
        match self._job.steps[place].run_if:
            case RunIf.SUCCESS:
                return not failed
            case RunIf.FAILURE:
                return failed or out_of_time
            case RunIf.ALWAYS:
                return True

    def _failed(self, place: int, states: list[StepState]) -> bool:
        status = states[place].status
        tolerated = self._job.steps[place].continue_on_failure
        return status is StepStatus.CANCELLED or (status in _BAD and not tolerated)

    def _end(self, states: list[StepState]) -> RunEvent:
        bad = [place for place, state in enumerate(states) if state.status in _BAD]
        if any(self._failed(place, states) for place in bad):
            return RunEvent.FAILS
        return RunEvent.PARTLY_SUCCEEDS if bad else RunEvent.SUCCEEDS


def initial_states(job: Job) -> tuple[StepState, ...]:
    """The states of a job's steps before anything has run."""
    return tuple(StepState(id=StepId(step.id)) for step in job.steps)
