"""How soon a step runs again whose host was killed: SIGKILL, 50 times, to hosts in mid-step.

With the default lease, skew and stall, and with the host's own ten minutes for a message that a
dead one held: what finds the lost steps is upkeep, as in Azure.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import EntryPoint
from itertools import pairwise
from pathlib import Path
from random import Random
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.bench import QUICK, Figures, complaints, states_of
from benchmarks.plugin import plugin
from benchmarks.span_step import FILE, Span, SpanStep, read_spans
from scheduler.app import App
from scheduler.errors import StorageUnavailable
from scheduler.execution.rules.states import RunState
from scheduler.settings import Settings
from steps.registry import GROUP, Registry
from tests.storage.simulation import AUTHOR, CALLER
from tools.azurite import Azurite
from tools.fleet import Fleet
from tools.local_settings import new_secrets
from tools.process import ROOT

ZONES = ("Europe/London", "Asia/Tokyo", "America/New_York")
KILLS = 4 if QUICK else 50
RUNS_A_KILL = 4
HOSTS = 4
WITH_TIMERS = (2, 3)
STEP_SECONDS = 120
"""How long a first attempt takes that is not killed; those after it end at once."""
BEFORE_A_KILL_SECONDS = (1.0, 6.0)
DEADLINE_SECONDS = 420
_RENEWAL_TAKES = 5
"""Seconds by which a renewal may be later than planned on a machine that is busy."""


@dataclass
class _Bench:
    """A fleet, and what has been asked of it; `killed`: process id → when it was."""

    app: App
    fleet: Fleet
    spans: Path
    asked: list[str] = field(default_factory=list)
    killed: dict[int, datetime] = field(default_factory=dict)

    async def ask(self, count: int) -> None:
        """Starts more executions, in each zone by turns."""
        for _ in range(count):
            number = len(self.asked)
            step = {"id": "one", "type": "span", "timeout": 10 * STEP_SECONDS}
            config = {"seconds": STEP_SECONDS, "again_seconds": 0.1}
            job = {"id": f"run-{number}", "name": "Span", "timezone": ZONES[number % len(ZONES)]}
            body = {**job, "steps": [{**step, "config": config}]}
            await self.app.executions.execute(CALLER, AUTHOR, body, 0)
            self.asked.append(job["id"])

    def runs_a_step(self, process: int) -> bool:
        """Whether a host is in the middle of a first attempt."""
        return any(
            1 in span.begun and 1 not in span.ended and span.begun[1][0][0] == process
            for span in read_spans(self.spans).values()
        )


async def measure() -> Figures:
    """Seconds from a kill to the next attempt, what was lost, and what ran twice."""
    with TemporaryDirectory(prefix="bench-") as text, Azurite() as azurite:
        folder = Path(text)
        spans = folder / "spans"
        environment = new_secrets() | {
            "AzureWebJobsStorage": azurite.connection_string,
            "SCHEDULER_NAME": "bench",
            "SCHEDULER_TIMEZONES": ",".join(ZONES),
            "PYTHONPATH": f"{ROOT}:{plugin(folder, SpanStep)}",
            FILE: str(spans),
        }
        source = EntryPoint(SpanStep.type, f"{SpanStep.__module__}:{SpanStep.__name__}", GROUP)
        app = App(Settings.load(environment), registry=Registry([source]))
        try:
            for zone in ZONES:
                await app.dispatcher.open_zone(zone)
            with Fleet(
                environment, folder / "fleet", clocks=[0] * HOSTS, timers=WITH_TIMERS
            ) as fleet:
                await asyncio.to_thread(fleet.start_all)
                bench = _Bench(app, fleet, spans)
                await _kill_all(bench)
                await _all_ended(bench)
                return _figures(bench)
        finally:
            await app.close()


async def _kill_all(bench: _Bench) -> None:
    """Kills one host after the other, each in the middle of a step, and starts another for it."""
    random = Random(KILLS)
    for number in range(KILLS):
        place = number % HOSTS
        life = bench.fleet.at(place)
        assert life is not None
        await bench.ask(RUNS_A_KILL)
        end = monotonic() + DEADLINE_SECONDS
        while not bench.runs_a_step(life.host.pid):
            if monotonic() > end:
                raise AssertionError(f"{life.name} takes no step")
            await asyncio.sleep(1)
            await bench.ask(1)
        await asyncio.sleep(random.uniform(*BEFORE_A_KILL_SECONDS))
        await asyncio.to_thread(bench.fleet.kill, place)
        bench.killed[life.host.pid] = life.ended or datetime.now(UTC)
        await asyncio.to_thread(bench.fleet.wait_until_ready, bench.fleet.start(place))


async def _all_ended(bench: _Bench) -> None:
    """Waits until each job that was asked for has one execution, and that is successful."""
    end, left = monotonic() + DEADLINE_SECONDS, set(bench.asked)
    while left:
        if monotonic() > end:
            raise AssertionError(f"{len(left)} executions have not ended: {sorted(left)[:3]}")
        await asyncio.sleep(1)
        done = {one.partition(".")[0] for one, span in read_spans(bench.spans).items() if span.end}
        try:
            for job_id in sorted(left & done):
                if await states_of(bench.app, job_id) == [RunState.SUCCESS]:
                    left.discard(job_id)
        except StorageUnavailable:
            continue  # a busy machine: look again


def _waits(spans: list[Span], killed: dict[int, datetime]) -> tuple[list[float], int]:
    """For each attempt that a kill ended: seconds from then until the next one began.

    Also how many attempts were followed by another while their host lived.
    """
    waits: list[float] = []
    alive = 0
    for span in spans:
        for number, following in pairwise(sorted(span.begun)):
            process, _ = span.begun[number][-1]
            _, at = span.begun[following][0]
            if process in killed:
                waits.append((at - killed[process]).total_seconds())
            else:
                alive += 1
    return waits, alive


def _figures(bench: _Bench) -> Figures:
    spans, settings = list(read_spans(bench.spans).values()), bench.app.settings
    waits, alive = _waits(spans, bench.killed)
    cuts = quantiles(waits, n=100, method="inclusive")
    lease, skew = settings.lease_seconds, settings.max_clock_skew_seconds
    bound = lease + skew + 60
    told = {
        "least": round(min(waits), 1),
        "p50": round(cuts[49], 1),
        "p95": round(cuts[94], 1),
        "max": round(max(waits), 1),
    }
    renewed = lease - settings.lease_renewal_seconds - _RENEWAL_TAKES + skew
    figures: Figures = {
        "kills": len(bench.killed),
        "executions": len(bench.asked),
        "executions_lost": len(bench.asked) - len(spans),
        "steps_lost": len(waits),
        "kill_to_next_attempt": told,
        "bound": bound,
        "attempts_begun_twice": sum(len(one) > 1 for span in spans for one in span.begun.values()),
        "bodies_done_twice": sum(len(span.ended) > 1 for span in spans),
        "logged": complaints(life.log_path for life in bench.fleet.lives),
        "begun_again_too_early": alive + sum(wait < renewed for wait in waits),
    }
    print(
        f"  {len(waits)} steps lost by {len(bench.killed)} kills: next attempt after"
        f" p50 {told['p50']} s, p95 {told['p95']} s, at most {told['max']} s (bound {bound:g} s);"
        f" of {figures['executions']} executions {figures['executions_lost']} lost,"
        f" {figures['attempts_begun_twice']} attempts begun twice,"
        f" {figures['bodies_done_twice']} bodies done twice"
    )
    return figures
