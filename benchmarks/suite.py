"""Runs the parts of a benchmark, prints what they find, and writes it as JSON."""

import argparse
import asyncio
import json
import os
import platform
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

from benchmarks.bench import QUICK, Figures
from tools.process import ROOT, loopback_without_proxy

type Parts = Mapping[str, tuple[str, Callable[[], Awaitable[Figures]]]]
"""By name: a title, and what measures."""


def main(name: str, description: str | None, parts: Parts) -> None:
    """Runs the parts that the command line asks for, all by default."""
    flags = _parser(name, description, parts).parse_args()
    os.environ.update(loopback_without_proxy(os.environ))
    figures = asyncio.run(_measure(parts, flags.only or list(parts)))
    flags.out.parent.mkdir(parents=True, exist_ok=True)
    flags.out.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(f"written to {flags.out}")


async def _measure(parts: Parts, names: list[str]) -> Figures:
    figures: Figures = {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": QUICK,
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 1),
    }
    for name in names:
        title, measure = parts[name]
        print(title)
        began = monotonic()
        figures[name] = await measure()
        figures[name]["took_seconds"] = round(monotonic() - began, 1)
    figures["load_average_after"] = round(os.getloadavg()[0], 1)
    return figures


def _parser(name: str, description: str | None, parts: Parts) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    parser.add_argument("--only", nargs="*", choices=list(parts), help="parts; all by default")
    parser.add_argument(
        "--out", type=Path, default=ROOT / ".local" / f"bench-{name}.json", help="file to write"
    )
    return parser
