"""`make chaos MINUTES=3 SEED=7`: exit code 1 when the sheet does not balance."""

import argparse
import asyncio
import os
import secrets
import signal
import sys
from pathlib import Path
from types import FrameType

from rich.console import Console

from chaos.asker import NoAnswer
from chaos.plan import CLOCK_DISTANCE_SECONDS, make_plan
from chaos.report import print_plan, print_result, write
from chaos.run import run
from tools.process import ROOT, ProcessFailed, loopback_without_proxy


def main() -> int:
    """Runs one plan; returns the exit code."""
    flags = _parser().parse_args()
    os.environ.update(loopback_without_proxy(os.environ))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    console = Console(soft_wrap=True)
    plan = make_plan(flags.seed, flags.minutes, flags.clocks)
    print_plan(plan, console)
    console.print("[bold]What happens[/bold]")
    try:
        result = asyncio.run(run(plan, lambda line: console.print(line, highlight=False)))
    except (NoAnswer, ProcessFailed) as error:
        console.print(f"chaos: {error}", markup=False, highlight=False)
        return 2
    except KeyboardInterrupt:
        console.print("chaos: stopped; everything that it had started is ended")
        return 130
    print_result(result, console)
    write(result, flags.out)
    console.print(f"written to {flags.out}", highlight=False)
    return 0 if result.balances else 1


def _end(_number: int, _frame: FrameType | None) -> None:
    """Ends as by Ctrl-C, so that everything that was started is ended too."""
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3, help="how long the weather lasts")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10_000), help="repeats a plan; else random"
    )
    parser.add_argument(
        "--clocks",
        type=float,
        default=CLOCK_DISTANCE_SECONDS,
        help="seconds between the fastest and the slowest clock",
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / ".local" / "chaos.json", help="the file to write"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
