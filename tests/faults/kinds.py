"""What may befall a request, or happen right before it.

A request is worked out by then. So it meets what it did not expect: a cancel that passes a claim or
a record, a worker that stalls until another has taken over, two cancels at once.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.messages import Message, MessageKind
from tests.faults.case import LEASE_AND_SKEW_SECONDS, STEPS, Case
from tests.faults.scenario import Allowed
from tests.storage.outage import Outage
from tests.storage.wire import FAILURES, KILLS, Mode, Place

NOTHING, ONE_ATTEMPT, ONE_BEGUN = Allowed(0, 0), Allowed(1, 0), Allowed(1, 1)
STALL_SECONDS = 61
_OF_TIMERS = frozenset({"Jobs query", "Days query", "definitions list"})
ONCE = (Mode.REFUSED, Mode.ERROR_AFTER, *KILLS)
"""What is also tried with a caller who does not repeat a call that failed."""


@dataclass(frozen=True)
class Kind:
    """What is done to a request, or right before it; `lasts` requests in a row are broken."""

    name: str
    mode: Mode | None = None
    lasts: int = 1
    meddle: Callable[[Case], Awaitable[object]] | None = None
    repeats: bool = True
    """Whether who cancels repeats a call that failed."""
    costs: Allowed = ONE_ATTEMPT
    felt: bool = True
    """Whether a message may come back, or a timer's round fail, for it."""

    def place(self, case: Case, at: int) -> Place:
        """Lies in wait for the `at`-th of the requests to come."""
        if self.meddle is None:
            outage = Outage(at, of_a_run, mode=self.mode or Mode.REFUSED, lasts=self.lasts)
            case.sim.wire.fault = outage
            return outage
        return case.sim.wire.between(at, of_a_run, partial(case.meddle, self.meddle))


def of_a_run(kind: str) -> bool:
    """Whether a request may belong to a run: the timers' heartbeats, and their looks for any due
    row or anything old, do not."""
    return kind not in _OF_TIMERS and not kind.startswith(("Control ", "Stats "))


FAULTS = (
    *(Kind(str(mode), mode) for mode in FAILURES),
    *(Kind(str(mode), mode, costs=ONE_BEGUN) for mode in KILLS),
    Kind("late", Mode.LATE, costs=NOTHING),
    Kind("lost-unread", Mode.LOST, lasts=2),
    Kind("out-of-reach", Mode.REFUSED, lasts=4),
)
"""What may befall a request; of some also the next ones fail, which ask whether it was done."""
UNBROKEN = Kind("unbroken", costs=NOTHING)
"""For no place at all."""


async def cancel_first(case: Case) -> None:
    if case.executions:
        await case.cancel(case.executions[0])


async def cancel_last(case: Case) -> None:
    if case.executions:
        await case.cancel(case.executions[-1])


async def go_on(case: Case) -> None:
    await case.go_on()


async def outlive(case: Case) -> None:
    """Lets so much time pass that any lease is over, and others take up what is left lying."""
    await case.pass_time(LEASE_AND_SKEW_SECONDS + 1)
    await case.sim.app.upkeep.run()
    await case.go_on()


async def overtake(case: Case) -> None:
    """As `outlive`, but what others begin is not over yet when the request is sent."""
    case.hold_all()
    await outlive(case)
    case.release_later()


async def tick_again(case: Case) -> None:
    await case.sim.app.tick.run()


async def look_after(case: Case) -> None:
    await case.pass_time(STALL_SECONDS)
    await case.sim.app.upkeep.run()


async def start_again(case: Case) -> None:
    for one in case.executions:
        await case.send_copy(Message(kind=MessageKind.START, execution_id=ExecutionId(one)))


async def step_again(case: Case) -> None:
    for one in case.executions:
        for step in STEPS:
            execution_id = ExecutionId(one)
            message = Message(
                kind=MessageKind.STEP, execution_id=execution_id, step=step, attempt=1
            )
            await case.send_copy(message)


OUTLIVED = (
    Kind("outlived", meddle=outlive, costs=ONE_BEGUN),
    Kind("overtaken", meddle=overtake, costs=ONE_BEGUN),
)
OF_RUNS = (
    *FAULTS,
    Kind("cancelled-first", meddle=cancel_first, costs=NOTHING),
    Kind("cancelled-last", meddle=cancel_last, costs=NOTHING),
    Kind("ticked-again", meddle=tick_again, costs=NOTHING),
    Kind("looked-after", meddle=look_after, costs=NOTHING),
    Kind("started-again", meddle=start_again, costs=NOTHING),
    Kind("stepped-again", meddle=step_again, costs=NOTHING),
    *OUTLIVED,
)
OF_CANCELS = (
    *FAULTS,
    *(
        replace(kind, name=f"{kind.name}-once", repeats=False)
        for kind in FAULTS
        if kind.mode in ONCE
    ),
    Kind("cancelled-too", meddle=cancel_first, costs=NOTHING),
    Kind("went-on", meddle=go_on, costs=NOTHING),
    *OUTLIVED,
)
UNFELT = tuple(Kind(str(mode), mode, costs=NOTHING, felt=False) for mode in FAILURES)
"""What the SDK makes up for, where it may repeat a request."""
