"""One scheduler in simulated time whose every event a Hypothesis state machine decides.

Each rule does one thing, and says what comes right after it: which messages are handled, in which
order, and how much time passes.
"""

import asyncio
import secrets
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler.dispatch.ids import scheduled_id
from scheduler.schedule.zone_data import Pass, ZoneData
from scheduler.schedule.zones import tzdata_version
from scheduler.security.audit import Caller
from scheduler.security.principals import Principal, Role
from tests.storage.drawn_jobs import DrawnJob, Gate, act_of, drawn_jobs
from tests.storage.events import Events, Trouble
from tests.storage.moves import Moves
from tests.storage.promises import Promises
from tests.storage.simulation import AUTHOR, CALLER, Simulation, simulated
from tests.storage.wire import KILLS, Mode

ADMIN = Caller(Principal("root", "root", Role.ADMIN, frozenset({"*"})))
SLOTS = 2
MOST_JOBS = 4
MOST_UNFINISHED = 5
YEARLY = {"type": "cron", "expression": "0 0 1 1 *"}

type Then = tuple[list[int], int]

WHICH = st.integers(0, 31)
"""One of what there is, counted round and round."""
TROUBLE: st.SearchStrategy[Trouble] = st.tuples(
    st.integers(1, 9), st.sampled_from([*KILLS, Mode.REFUSED, Mode.LOST])
)
"""The request that fails, and how."""
THEN: st.SearchStrategy[Then] = st.tuples(
    st.lists(WHICH, min_size=1, max_size=7), st.sampled_from([0, 0, 0, 1, 20, 70])
)
"""The messages that are handled next, in this order, and the seconds that pass then."""
SOON = st.integers(20, 200)
"""The seconds until a job comes due."""
WORDS = st.sampled_from(["running", "running", "paused", "stopped"])
GATE_ENDS = st.sampled_from(["surely", "well", "badly"])
TIMERS = st.sampled_from(["tick", "upkeep", "upkeep"])


class EngineMachine(RuleBasedStateMachine):
    """The walk; a subclass says where storage is."""

    azurite = ""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.gates: list[Gate] = []
        self.word = "running"

    def do[T](self, work: Coroutine[Any, Any, T], then: Then = ([], 0)) -> T:
        """Runs a coroutine, and what comes after it; should it fail, the error tells the story."""
        try:
            done = self.runner.run(work)
            self.runner.run(self._go_on(then))
        except Exception as error:
            if hasattr(self, "moves"):
                error.add_note("\n".join(self.moves.story))
            raise
        return done

    async def _go_on(self, then: Then) -> None:
        handled, seconds = then
        for which in handled:
            await self.events.handle(which)
        if seconds:
            self.sim.clock.advance(seconds)

    @initialize(by_hand=drawn_jobs(), by_schedule=drawn_jobs(), soon=SOON, then=THEN)
    def start(self, by_hand: DrawnJob, by_schedule: DrawnJob, soon: int, then: Then) -> None:
        """Starts a scheduler of two slots a zone, a run, and one to come."""
        self.do(self._start(by_hand, by_schedule, soon), then)

    async def _start(self, by_hand: DrawnJob, by_schedule: DrawnJob, soon: int) -> None:
        self.context = simulated(
            self.azurite,
            f"t{secrets.token_hex(6)}",
            max_concurrent_per_timezone=SLOTS,
            lease_renewal_seconds=86_400,
            cancel_grace_seconds=0.05,
        )
        self.sim: Simulation = await self.context.__aenter__()
        now = self.sim.clock.now()
        read = Pass(version=tzdata_version(), since=now, begun=now, done=True)
        storage, rows = self.sim.storage, self.sim.app._due_rows
        zone_data = ZoneData(storage.jobs, rows, storage.control, self.sim.clock)
        await zone_data._write(read)  # else each upkeep would go through the jobs
        self.moves = Moves(self.sim)
        self.promises = Promises(self.sim, self.moves, SLOTS)
        self.events = Events(self.sim, self.moves, self.promises)
        await self._store(by_hand, None)
        await self._execute(0)
        await self._store(by_schedule, soon)

    @precondition(lambda self: len(self.promises.jobs) < MOST_JOBS)
    @rule(job=drawn_jobs(), soon=st.none() | SOON, then=THEN)
    def schedule(self, job: DrawnJob, soon: int | None, then: Then) -> None:
        """Stores a job that comes due in a while, or one that is run by hand, at once."""
        number = len(self.promises.jobs)
        self.do(self._store(job, soon))
        if soon is None and self.word != "stopped":
            self.do(self._execute(number))
        self.do(self._go_on(then))

    async def _store(self, job: DrawnJob, soon: int | None) -> None:
        job_id = f"job{len(self.promises.jobs)}"
        job = job.named(job_id)
        schedule: dict[str, Any] = {**YEARLY, "overlap": job.overlap}
        if soon is not None:
            at = (self.sim.clock.now() + timedelta(seconds=soon)).replace(microsecond=0)
            schedule |= {"type": "once", "expression": at.isoformat()}
            self.promises.coming[scheduled_id(job_id, at)] = at
        for step, ends in zip(job.steps, job.ends, strict=True):
            acts = [act_of(end) for end in ends]
            self.gates += [act for act in acts if isinstance(act, Gate)]
            self.sim.script.acts[step["id"]] = acts
        self.promises.jobs[job_id] = job
        self.moves.note(f"{job_id}: {job}, {schedule}")
        await self.sim.create(job_id, *job.steps, schedule=schedule, **job.fields)

    def _unfinished(self) -> list[str]:
        runs = self.moves.runs
        coming = self.promises.coming.keys() - runs.keys()
        return sorted(coming.union(one for one, run in runs.items() if not run.state.finished))

    @precondition(lambda self: self.word != "stopped")
    @precondition(lambda self: len(self._unfinished()) < MOST_UNFINISHED)
    @rule(which=WHICH, then=THEN)
    def execute(self, which: int, then: Then) -> None:
        """Starts a job by hand."""
        self.do(self._execute(which), then)

    async def _execute(self, which: int) -> None:
        execution_id = await self.sim.execute(f"job{which % len(self.promises.jobs)}")
        self.moves.note(f"{execution_id} was asked for")

    @rule(which=st.lists(WHICH, min_size=3, max_size=9), then=THEN)
    def deliver(self, which: list[int], then: Then) -> None:
        """Messages are handled one after the other, any of them first."""
        self.do(self._go_on((which, 0)), then)

    @rule(which=WHICH, trouble=TROUBLE, then=THEN)
    def deliver_in_trouble(self, which: int, trouble: Trouble, then: Then) -> None:
        """A request fails by which a message is handled, or is the last of the process."""
        self.do(self.events.in_trouble(trouble, lambda: self.events.handle(which)), then)

    @rule(which=WHICH, then=THEN)
    def lose(self, which: int, then: Then) -> None:
        """A message is lost."""
        self.do(self.events.lose(which), then)

    @rule(which=WHICH, seconds=st.sampled_from([0, 45]), then=THEN)
    def duplicate(self, which: int, seconds: int, then: Then) -> None:
        """A message comes twice: now, and now or in a while."""
        self.do(self.events.duplicate(which, seconds), then)

    @rule(then=THEN)
    def come_early(self, then: Then) -> None:
        """Messages that are hidden can be seen before their time."""
        self.moves.note("all messages come early")
        self.do(self.sim.host.show(early=True), then)

    @rule(seconds=st.sampled_from([10, 45, 95, 150]), then=THEN)
    def live(self, seconds: int, then: Then) -> None:
        """Time passes in which all goes well: messages are handled, timers come."""
        self.do(self.sim.run(minutes=seconds / 60), then)

    @rule(seconds=st.sampled_from([95, 95, 400]), timer=TIMERS, then=THEN)
    def be_down(self, seconds: int, timer: str, then: Then) -> None:
        """Time passes in which nothing is done, and then a timer comes."""
        self.sim.clock.advance(seconds)
        self.do(self.events.timer(timer), then)

    @rule(timer=TIMERS, trouble=TROUBLE, then=THEN)
    def timer_in_trouble(self, timer: str, trouble: Trouble, then: Then) -> None:
        """A request of the tick or of upkeep fails, or is the last of the process."""
        self.do(self.events.in_trouble(trouble, lambda: self.events.timer(timer)), then)

    def _held(self) -> list[Gate]:
        return [gate for gate in self.gates if gate.waits]

    @precondition(lambda self: self._held())
    @rule(which=WHICH, how=GATE_ENDS, then=THEN)
    def let_go(self, which: int, how: str, then: Then) -> None:
        """A step that is held comes to its end, maybe long after it was taken for dead."""
        held = self._held()
        held[which % len(held)].end(how)
        self.do(self.sim.host.settled(), then)

    @precondition(lambda self: self._held())
    @rule(which=WHICH, then=THEN)
    def renew(self, which: int, then: Then) -> None:
        """A step that is held renews its lease, and so learns what became of its execution."""
        held = self._held()
        self.do(self.events.renew(held[which % len(held)]), then)

    @precondition(lambda self: self._unfinished())
    @rule(which=WHICH, then=THEN)
    def cancel(self, which: int, then: Then) -> None:
        """Somebody cancels a run, one under way or one to come."""
        unfinished = self._unfinished()
        self.do(self._cancel(unfinished[which % len(unfinished)]), then)

    async def _cancel(self, execution_id: str) -> None:
        self.moves.note(f"{execution_id} is cancelled")
        await self.sim.app.executions.cancel(CALLER, AUTHOR, execution_id, {}, 0)

    @rule(slots=st.integers(1, SLOTS), then=THEN)
    def die(self, slots: int, then: Then) -> None:
        """The process dies with all that runs in it; the next one may have fewer slots."""
        self.sim.settings = self.sim.settings.model_copy(
            update={"max_concurrent_per_timezone": slots}
        )
        self.promises.slots = slots
        self.moves.note(f"the process dies; the next one has {slots} slots")
        self.do(self.sim.kill(), then)

    @rule(word=WORDS, then=THEN)
    def say(self, word: str, then: Then) -> None:
        """The control word changes."""
        self.do(self._say(word), then)

    async def _say(self, word: str) -> None:
        self.word = word
        self.moves.note(f"the word is {word}")
        await self.sim.app.controls.write(ADMIN, {"state": word})

    @invariant()
    def promises_hold(self) -> None:
        """What has to be true at every moment is."""
        if hasattr(self, "promises"):
            self.do(self.promises.hold())

    def teardown(self) -> None:
        """All runs out: everything ends, and nothing is left."""
        try:
            if hasattr(self, "promises"):
                self.do(self._run_out())
        finally:
            if hasattr(self, "context"):
                self.runner.run(self.context.__aexit__(None, None, None))
            self.runner.close()

    async def _run_out(self) -> None:
        self.moves.note("from here on all goes well")
        for gate in self.gates:
            gate.release()
        await self.sim.host.settled()
        while await self.events.handle(0):
            pass
        if self.word != "running":
            await self._say("running")
        by_schedule = {one.partition(".")[0] for one in self.promises.coming}
        for job_id in self.promises.jobs.keys() - by_schedule:
            await self.sim.app.jobs.pause(CALLER, AUTHOR, job_id, {}, None)
        await self.sim.run()
        await self.promises.are_kept()
