"""At most fifty at once in a zone: 400 executions in one and 100 in another, on four hosts.

Bursts, each due at one second: the other zone's 100 alone; beside 400 that are spread over eight
zones, where none is parked; beside 400 in one zone; so again with longer steps, which fill the
slots whatever the machine; and once more, while a host is killed.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from time import monotonic

from benchmarks.bench import QUICK, Figures, complaints, states_of
from benchmarks.plugin import plugin
from benchmarks.slot_watch import SlotWatch
from benchmarks.span_step import FILE, Span, SpanStep, read_spans
from scheduler.app import App
from scheduler.errors import StorageUnavailable
from scheduler.execution.rules.states import RunState
from scheduler.jobs.model import Job, JobId, Schedule, ScheduleType, StepId, StepSpec
from scheduler.settings import Settings
from tests.storage.seeding import store_jobs
from tools.azurite import Azurite
from tools.fleet import Fleet
from tools.local_settings import new_secrets
from tools.process import ROOT

FULL, OTHER = "Europe/London", "Asia/Tokyo"
ROOMY = tuple(f"Etc/GMT+{hours}" for hours in range(1, 9))
RUNS, OTHER_RUNS = (80, 20) if QUICK else (400, 100)
SLOTS = 50
USE_TARGET = 0.8
HOSTS = 4
STEP_SECONDS, LONG_SECONDS = 0.2, 10.0
WITHIN = 8
STORING, TICKING = timedelta(seconds=45), timedelta(seconds=20)
"""Time to store the jobs until a full minute, and for its tick to announce their runs."""
DEADLINE_SECONDS = 600
_MINUTE = timedelta(minutes=1)
SETTINGS = {
    "SCHEDULER_NAME": "bench",
    "SCHEDULER_TIMEZONES": ",".join((FULL, OTHER, *ROOMY)),
    "SCHEDULER_LEASE_SECONDS": "20",
    "SCHEDULER_LEASE_RENEWAL_SECONDS": "5",
    "SCHEDULER_MAX_CLOCK_SKEW_SECONDS": "5",
    "SCHEDULER_STALL_SECONDS": "20",
    "DEVHOST_MESSAGE_LEASE_SECONDS": "40",
}
"""Short leases, so that what a killed host held is taken over while the others still run."""


@dataclass
class _Bench:
    """What the bursts share."""

    app: App
    fleet: Fleet
    connection_string: str
    spans: Path


async def measure() -> Figures:
    """The most at once, the order, the use of the slots, the other zone's lateness.

    Raises:
        AssertionError: more ran at once than there are slots, or an execution did not end well.
    """
    with TemporaryDirectory(prefix="bench-") as text, Azurite() as azurite:
        folder = Path(text)
        spans = folder / "spans"
        environment = new_secrets() | SETTINGS
        environment |= {
            "AzureWebJobsStorage": azurite.connection_string,
            "PYTHONPATH": f"{ROOT}:{plugin(folder, SpanStep)}",
            FILE: str(spans),
        }
        app = App(Settings.load(environment))
        try:
            with Fleet(
                environment, folder / "fleet", clocks=[0] * HOSTS, timers=[HOSTS - 1]
            ) as fleet:
                await asyncio.to_thread(fleet.start_all)
                return await _bursts(_Bench(app, fleet, azurite.connection_string, spans))
        finally:
            await app.close()


async def _bursts(bench: _Bench) -> Figures:
    figures: Figures = {
        "hosts": HOSTS,
        "slots": SLOTS,
        "use_target": USE_TARGET,
        "alone": await _burst(bench, "alone", {}),
        "spread": await _burst(bench, "spread", dict.fromkeys(ROOMY, RUNS // len(ROOMY))),
        "together": await _burst(bench, "together", {FULL: RUNS}),
        "long": await _burst(bench, "long", {FULL: RUNS}, seconds=LONG_SECONDS),
        "killed": await _burst(bench, "killed", {FULL: RUNS}, seconds=LONG_SECONDS, kill=True),
    }
    figures["logged"] = complaints(life.log_path for life in bench.fleet.lives)
    late = {name: figures[name]["other"]["lateness"]["p99"] for name in ("alone", "spread")}
    together = figures["together"]["other"]["lateness"]["p99"]
    for name, p99 in late.items():
        figures[f"other_zone_p99_together_by_{name}"] = round(together / p99, 2)
    print(
        "  the other zone's p99 lateness beside the full zone:"
        f" {together / late['spread']:.2f} times that beside as many runs in roomy zones,"
        f" {together / late['alone']:.2f} times that alone"
    )
    return figures


async def _burst(
    bench: _Bench,
    name: str,
    beside: Mapping[str, int],
    *,
    seconds: float = STEP_SECONDS,
    kill: bool = False,
) -> Figures:
    """Runs due at one second: the other zone's, and so many `beside` them by zone."""
    minute = (datetime.now(UTC) + STORING).replace(second=0, microsecond=0) + _MINUTE
    at = minute + TICKING
    jobs = {OTHER: [f"{name}-other-{number}" for number in range(OTHER_RUNS)]}
    for place, (zone, count) in enumerate(beside.items()):
        jobs[zone] = [f"{name}-beside-{place}-{number}" for number in range(count)]
    for zone, names in jobs.items():
        await store_jobs(bench.app, _job(zone, at, seconds), names, definitions=True)
    if datetime.now(UTC) >= minute:
        raise AssertionError("the machine is too slow to store the jobs in time")
    async with _watched(bench, FULL if FULL in beside else OTHER) as watch:
        if kill:
            await _begun(bench, f"{name}-beside-", RUNS // 4)
            await asyncio.to_thread(bench.fleet.kill, 0)
        await _all_ended(bench, [one for mine in jobs.values() for one in mine])
    spans = read_spans(bench.spans)
    figures: Figures = {"step_seconds": seconds, "watched": _watch_figures(watch)}
    for word, zone in (("full", FULL), ("other", OTHER)):
        if zone in jobs:
            figures[word] = _zone_figures(spans, jobs[zone], at, seconds)
    print(_line(name, figures))
    most = max(figures[word]["most_at_once"] for word in ("full", "other") if word in figures)
    if max(most, watch.most_held) > SLOTS:
        raise AssertionError(f"{most} ran at once, and {watch.most_held} slots were held")
    if kill:
        await asyncio.to_thread(bench.fleet.wait_until_ready, bench.fleet.start(0))
    return figures


@asynccontextmanager
async def _watched(bench: _Bench, zone: str) -> AsyncIterator[SlotWatch]:
    watch = SlotWatch()
    queue = bench.app.dispatcher.queue_of(zone)
    table = f"{bench.app.settings.name}Zones"
    watching = asyncio.create_task(watch.watch(bench.connection_string, table, queue))
    try:
        yield watch
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def _watch_figures(watch: SlotWatch) -> Figures:
    passed = watch.overtaken()
    used = watch.use(SLOTS)
    return {
        "looks": len(watch.held),
        "most_slots_held": watch.most_held,
        "parked": len(passed),
        "passed_at_most": max(passed, default=0),
        "passed_by_8_or_more": sum(one >= WITHIN for one in passed),
        "use_while_some_wait": None if used is None else round(used, 3),
    }


def _job(zone: str, at: datetime, seconds: float) -> Job:
    config = {"seconds": seconds, "again_seconds": seconds}
    step = StepSpec(id=StepId("one"), name="one", type="span", config=config)
    schedule = Schedule(type=ScheduleType.ONCE, expression=at.isoformat())
    return Job(id=JobId("template"), name="Span", timezone=zone, steps=(step,), schedule=schedule)


async def _begun(bench: _Bench, prefix: str, count: int) -> None:
    end = monotonic() + DEADLINE_SECONDS
    while sum(one.startswith(prefix) for one in read_spans(bench.spans)) < count:
        if monotonic() > end:
            raise AssertionError(f"fewer than {count} runs have begun")
        await asyncio.sleep(0.1)


async def _all_ended(bench: _Bench, job_ids: list[str]) -> None:
    """Waits until every job has its one execution, and that is successful."""
    end, left = monotonic() + DEADLINE_SECONDS, set(job_ids)
    while left:
        if monotonic() > end:
            raise AssertionError(f"{len(left)} executions have not ended: {sorted(left)[:3]}")
        await asyncio.sleep(1)
        done = {one.partition(".")[0] for one, span in read_spans(bench.spans).items() if span.end}
        with suppress(StorageUnavailable):  # a busy machine: look again
            for job_id in sorted(left & done):
                if await states_of(bench.app, job_id) == [RunState.SUCCESS]:
                    left.discard(job_id)


def _zone_figures(
    spans: Mapping[str, Span], ids: list[str], at: datetime, step_seconds: float
) -> Figures:
    wanted = set(ids)
    mine = [span for name, span in spans.items() if name.partition(".")[0] in wanted]
    lateness = [(span.start - at).total_seconds() for span in mine]
    first, last = min(span.start for span in mine), max(span.end or at for span in mine)
    seconds = (last - first).total_seconds()
    return {
        "executions": len(mine),
        "most_at_once": most_at_once(mine),
        "attempts": sum(len(span.begun) for span in mine),
        "begun_twice": sum(len(one) > 1 for span in mine for one in span.begun.values()),
        "seconds": round(seconds, 1),
        "lateness": _percentiles(lateness),
        "step_seconds_by_slot_seconds": round(step_seconds * len(mine) / (SLOTS * seconds), 3),
    }


def most_at_once(spans: list[Span]) -> int:
    """How many ran at once at most, each from its first attempt's begin to its last one's end.

    That is less than the time in which it holds its slot, and more than its steps take: between
    two attempts it keeps the slot.
    """
    moments = [(span.start, 1) for span in spans]
    moments += [(span.end, -1) for span in spans if span.end is not None]
    return max(accumulate(change for _, change in sorted(moments)))


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "max": round(max(values), 2)}


def _line(name: str, figures: Figures) -> str:
    zones = [
        f"{figures[zone]['executions']} in the {zone} zone, at most"
        f" {figures[zone]['most_at_once']} at once, late p99 {figures[zone]['lateness']['p99']} s"
        for zone in ("full", "other")
        if zone in figures
    ]
    watched = figures["watched"]
    return (
        f"  {name}, steps of {figures['step_seconds']} s: {'; '.join(zones)};"
        f" {watched['parked']} seen parked, passed by {watched['passed_at_most']} at most;"
        f" slots in use while some wait: {watched['use_while_some_wait']}"
    )
