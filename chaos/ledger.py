"""What is recorded once all is quiet: every execution with its steps, and whatever is left over."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from time import monotonic

from scheduler.app import App
from scheduler.dispatch.ids import SHARDS
from scheduler.dispatch.queue_names import poison_queue_name, relay_queue_name
from scheduler.errors import StorageUnavailable
from scheduler.execution.records import run_of, step_of
from scheduler.execution.rules.model import Run, StepRecord

_LOOK_SECONDS = 2.0
LEFT_OVERS = ("run:", "slot:", "wait:", "!current", "!queue:", "wake:", "messages", "poison")


@dataclass(frozen=True, slots=True)
class Entry:
    """An execution, and the records of its steps that ever started, by place."""

    run: Run
    steps: dict[int, StepRecord]


@dataclass
class Ledger:
    """All executions by id, their day rows, and how much is left over of what."""

    entries: dict[str, Entry] = field(default_factory=dict)
    days: Counter[str] = field(default_factory=Counter)
    days_not_successful: Counter[str] = field(default_factory=Counter)
    left_over: dict[str, int] = field(default_factory=dict)


async def wait_until_quiet(app: App, job_ids: Sequence[str], seconds: float) -> float | None:
    """Waits until no execution is unfinished and no message is left; how long it took.

    None when that did not come within so many seconds.
    """
    began = monotonic()
    while monotonic() - began < seconds:
        try:
            if not any((await left_over(app, job_ids)).values()):
                return monotonic() - began
        except StorageUnavailable:
            pass
        await asyncio.sleep(_LOOK_SECONDS)
    return None


async def left_over(app: App, job_ids: Sequence[str]) -> dict[str, int]:
    """How many rows and messages there are that only unfinished work has.

    Raises:
        StorageUnavailable: storage cannot be reached.
    """
    found: Counter[str] = Counter(dict.fromkeys(LEFT_OVERS, 0))
    storage = app.storage
    async for zone in app.dispatcher.zones_in_use():
        for prefix in ("run:", "slot:", "wait:"):
            rows = storage.zones.query(zone.queue, prefix, f"{prefix[:-1]};", select=["v"])
            found[prefix] += len([row async for row in rows])
        found["messages"] += await storage.queues.length(zone.queue)
        found["poison"] += await storage.queues.length(poison_queue_name(zone.queue))
    relay = relay_queue_name(app.settings.name)
    found["messages"] += await storage.queues.length(relay)
    found["poison"] += await storage.queues.length(poison_queue_name(relay))
    for job_id in job_ids:
        async for row in storage.executions.query(job_id, "!", '"', select=["execution_id"]):
            found["!current" if row.key == "!current" else "!queue:"] += 1
    for shard in SHARDS:
        rows = storage.jobs.query(shard, "wake:", "wake;", select=["v"])
        found["wake:"] += len([row async for row in rows])
    return dict(found)


async def read_ledger(app: App, job_ids: Sequence[str], days: Sequence[datetime]) -> Ledger:
    """Reads everything that is recorded of these jobs, and the day rows of these days.

    Raises:
        StorageUnavailable: storage cannot be reached.
    """
    ledger = Ledger(left_over=await left_over(app, job_ids))
    for job_id in job_ids:
        await _read_job(app, job_id, ledger)
    for day in sorted({f"{day + timedelta(minutes=m):%Y%m%d}" for day in days for m in (-1, 0, 1)}):
        for partition, counted in (
            (day, ledger.days),
            (f"{day}!", ledger.days_not_successful),
        ):
            async for row in app.storage.days.query(partition, "0", "~", select=["execution_id"]):
                counted[str(row.values["execution_id"])] += 1
    return ledger


async def _read_job(app: App, job_id: str, ledger: Ledger) -> None:
    runs = [run_of(row) async for row in app.storage.executions.query(job_id, "r:", "r;")]
    steps: dict[str, dict[int, StepRecord]] = {}
    async for row in app.storage.executions.query(job_id, "s:", "s;"):
        execution_id, place = row.key.split(":")[2:4]
        steps.setdefault(execution_id, {})[int(place)] = step_of(row)
    for run in runs:
        ledger.entries[run.execution_id] = Entry(run, steps.get(run.execution_id, {}))
