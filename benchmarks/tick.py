"""`make bench-tick`: measures the tick, prints what it finds, and writes it as JSON.

python -m benchmarks.tick --only flatness cron --out .local/bench-tick.json
"""

import argparse
import asyncio
import json
import os
import platform
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from benchmarks import cron_cost, flatness, full_minute, idle, lateness
from benchmarks.bench import Figures
from tools.process import ROOT, loopback_without_proxy


async def _cron() -> Figures:
    return cron_cost.measure()


PARTS: dict[str, tuple[str, Callable[[], Awaitable[Figures]]]] = {
    "cron": ("The next runs, against croniter alone", _cron),
    "idle": ("Nothing due", idle.measure),
    "full": ("A very full minute", full_minute.measure),
    "lateness": ("Lateness of starts on a real host", lateness.measure),
    "flatness": ("A tick among many stored jobs", flatness.measure),
}


def main() -> None:
    """Runs the parts that are asked for, all by default."""
    flags = _parser().parse_args()
    os.environ.update(loopback_without_proxy(os.environ))
    figures = asyncio.run(_measure(flags.only or list(PARTS)))
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    flags.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(f"written to {flags.out}")


async def _measure(names: list[str]) -> Figures:
    figures: Figures = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 1),
    }
    for name in names:
        title, measure = PARTS[name]
        print(title)
        began = monotonic()
        figures[name] = await measure()
        figures[name]["took_seconds"] = round(monotonic() - began, 1)
    figures["load_average_after"] = round(os.getloadavg()[0], 1)
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tick", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=list(PARTS), help="parts; all by default")
    parser.add_argument(
        "--out", type=Path, default=ROOT / ".local" / "bench-tick.json", help="the file to write"
    )
    return parser


if __name__ == "__main__":
    main()
