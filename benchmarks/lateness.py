"""How late runs start on a real host: 500 spread over a minute, then 500 at one second.

From the nominal second to the first line of the step's code, by the real clock of one machine that
runs the emulator, the host and this program.
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory

from benchmarks.bench import QUICK, Figures, cpu_seconds
from benchmarks.plugin import plugin
from benchmarks.stamp_step import FILE, StampStep
from scheduler.app import App
from scheduler.dispatch.ids import parse_execution_id
from scheduler.execution.records import run_of
from scheduler.jobs.model import Job, JobId, Schedule, ScheduleType, StepId, StepSpec
from scheduler.settings import Settings
from tests.storage.seeding import store_jobs
from tools.azurite import Azurite
from tools.local_settings import new_secrets
from tools.process import ROOT, start_dev_host

RUNS = 60 if QUICK else 500
TIMEZONES = (
    "UTC",
    "America/New_York",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Asia/Tokyo",
    "Asia/Kolkata",
    "Asia/Dubai",
    "Australia/Sydney",
)
"""Ten declared zones of 50 slots: no run waits for a slot because of the limit of its zone."""
HOSTS = 1
AHEAD = timedelta(seconds=80)
"""Time to store the jobs, and for a tick to announce them."""
BETWEEN = timedelta(seconds=70)
DEADLINE_SECONDS = 180


async def measure() -> Figures:
    """p50 and p99 of the lateness in seconds, by the part of the way."""
    with TemporaryDirectory(prefix="bench-") as text, Azurite() as azurite:
        folder = Path(text)
        stamps = folder / "stamps"
        environment = new_secrets() | {
            "AzureWebJobsStorage": azurite.connection_string,
            "SCHEDULER_NAME": "bench",
            "SCHEDULER_TIMEZONES": ",".join(TIMEZONES),
            "PYTHONPATH": f"{ROOT}:{plugin(folder, StampStep)}",
            FILE: str(stamps),
        }
        app = App(Settings.load(environment))
        try:
            with start_dev_host(environment, flags=["--no-http"]) as host:
                return await _both(app, stamps, {"host": host.pid, "emulator": azurite.pid or 0})
        finally:
            await app.close()


async def _both(app: App, stamps: Path, processes: Mapping[str, int]) -> Figures:
    first = _next_minute(datetime.now(UTC) + AHEAD)
    second = first + BETWEEN
    for name, start, seconds in (("spread", first, 60), ("burst", second, 1)):
        for number in range(seconds):
            at = start + timedelta(seconds=number)
            mine = [f"{name}-{one}" for one in range(RUNS) if one * seconds // RUNS == number]
            await _store(app, mine, at)
    before = {name: cpu_seconds(pid) for name, pid in processes.items()}
    lines = await _all_stamps(stamps, 2 * RUNS, second + timedelta(seconds=DEADLINE_SECONDS))
    used = {name: cpu_seconds(pid) - before[name] for name, pid in processes.items()}
    a_run = {name: round(1000 * seconds / (2 * RUNS), 1) for name, seconds in used.items()}
    figures: Figures = {
        "hosts": HOSTS,
        "zones": len(TIMEZONES),
        "runs": RUNS,
        "cpu_milliseconds_a_run": a_run,
    }
    print(f"  processor time of a run, in ms: {a_run}")
    for name in ("spread", "burst"):
        figures[name] = await _figures(app, name, lines)
        print(_line(name, figures[name]))
    return figures


def _next_minute(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0) + timedelta(minutes=1)


async def _store(app: App, ids: list[str], at: datetime) -> None:
    """Stores jobs that run once at an instant, spread over the zones, with their definitions."""
    schedule = Schedule(type=ScheduleType.ONCE, expression=at.isoformat())
    step = StepSpec(id=StepId("one"), name="one", type="stamp", config={})
    by_zone = {zone: ids[place :: len(TIMEZONES)] for place, zone in enumerate(TIMEZONES)}
    for zone, mine in by_zone.items():
        if not mine:
            continue
        job = Job(
            id=JobId("template"), name="Stamp", timezone=zone, steps=(step,), schedule=schedule
        )
        await store_jobs(app, job, mine, definitions=True)


async def _all_stamps(stamps: Path, count: int, until: datetime) -> dict[str, datetime]:
    """Execution id → when its step began, once there are so many."""
    while True:
        lines = stamps.read_text("utf-8").splitlines() if stamps.exists() else []
        if len(lines) >= count:
            pairs = (line.split() for line in lines)
            return {name: datetime.fromisoformat(at) for name, at in pairs}
        if datetime.now(UTC) > until:
            raise AssertionError(f"only {len(lines)} of {count} runs have started")
        await asyncio.sleep(0.5)


async def _figures(app: App, name: str, lines: dict[str, datetime]) -> Figures:
    received: list[float] = []
    started: list[float] = []
    for execution_id, began in lines.items():
        key = parse_execution_id(execution_id)
        if key is None or not key.job_id.startswith(f"{name}-"):
            continue
        row = await app.storage.executions.get(key.job_id, key.run_row)
        assert row is not None
        run = run_of(row)
        received.append((run.created_at - run.scheduled_time).total_seconds())
        started.append((began - run.scheduled_time).total_seconds())
    assert len(started) == RUNS
    return {
        "received": _percentiles(received),
        "started": _percentiles(started),
        "early": sum(one < 0 for one in started),
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "max": round(max(values), 2)}


def _line(name: str, figures: Figures) -> str:
    start, taken = figures["started"], figures["received"]
    return (
        f"  {RUNS} runs, {name}: start p50 {start['p50']:.2f} s, p99 {start['p99']:.2f} s"
        f" (taken up p50 {taken['p50']:.2f} s, p99 {taken['p99']:.2f} s)"
    )
