"""Fifty steps of one execution at once on three hosts, and a step that joins them."""

import asyncio
import json
from collections import Counter
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from benchmarks.bench import QUICK, Figures
from benchmarks.place_step import PlaceStep
from benchmarks.plugin import plugin
from tools.azurite import Azurite
from tools.fleet import Fleet
from tools.local_settings import new_secrets
from tools.process import ROOT

HOSTS = 3
WIDE, SECONDS = (10, 2) if QUICK else (50, 10)
WAIT_SECONDS = 100


async def measure() -> Figures:
    """How many ran at once, on how many hosts, and the time against that of one after another.

    Raises:
        AssertionError: the execution did not end well, one host did all, or a step ran twice.
    """
    return await asyncio.to_thread(_measure)


def _measure() -> Figures:
    with TemporaryDirectory(prefix="bench-") as text, Azurite() as azurite:
        folder = Path(text)
        secrets = new_secrets()
        environment = secrets | {
            "SCHEDULER_NAME": "bench",
            "AzureWebJobsStorage": azurite.connection_string,
            "PYTHONPATH": f"{ROOT}:{plugin(folder, PlaceStep)}",
        }
        with Fleet(environment, folder / "fleet", clocks=[0] * HOSTS, timers=[0]) as fleet:
            fleet.start_all()
            body = _execute(fleet.urls[0], secrets["SCHEDULER_ADMIN_KEY"])
    figures = _figures(body)
    print(
        f"  {WIDE} steps of {SECONDS} s on {HOSTS} hosts: {figures['most_at_once']} at once,"
        f" {figures['by_host']} by host, {figures['seconds']} s, the join last"
    )
    return figures


def _execute(url: str, key: str) -> dict[str, Any]:
    wide = [f"wide_{number:02d}" for number in range(WIDE)]
    steps = [{"id": one, "type": "place", "seconds": SECONDS, "depends_on": []} for one in wide]
    join = {"id": "join", "type": "place", "seconds": 0, "depends_on": wide}
    job = {"name": "side by side", "max_parallel": WIDE, "steps": [*steps, join]}
    request = Request(
        f"{url}/api/v2/jobs/execute",
        data=json.dumps(job).encode(),
        headers={
            "X-API-Key": key,
            "Content-Type": "application/json",
            "Prefer": f"wait={WAIT_SECONDS}",
        },
    )
    try:
        with urlopen(request, timeout=2 * WAIT_SECONDS) as response:
            body: dict[str, Any] = json.load(response)
    except HTTPError as error:
        raise AssertionError(error.read().decode()[:500]) from error
    return body


def _figures(body: dict[str, Any]) -> Figures:
    *wide, join = body["steps"]
    spans = [(_instant(one, "start_time"), _instant(one, "end_time")) for one in wide]
    hosts = Counter(one["output"] for one in wide)
    attempts = sum(one["attempts"] for one in body["steps"])
    assert body["status"] == "success", body["status"]
    assert attempts == WIDE + 1, f"{attempts} attempts"
    assert len(hosts) > 1, "one host did all"
    assert max(end for _, end in spans) <= _instant(join, "start_time"), "the join was early"
    first, last = min(spans)[0], max(end for _, end in spans)
    return {
        "steps": WIDE,
        "step_seconds": SECONDS,
        "hosts": HOSTS,
        "by_host": sorted(hosts.values(), reverse=True),
        "most_at_once": max(sum(start <= at < end for start, end in spans) for at, _ in spans),
        "seconds": round((last - first).total_seconds(), 1),
    }


def _instant(step: dict[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(step[name])
