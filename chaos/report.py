"""Prints plan and balance sheet, and writes them as JSON."""

import json
import os
import platform
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.plan import Plan
from chaos.run import Result

_SHOWN = 10
TOLD_ACTIONS = {
    "duplicate_dropped": "duplicates dropped: the step runs already",
    "message_dropped": "stale messages dropped",
    "announcement_dropped": "void announcements dropped",
    "step_taken_over": "steps taken over from a dead worker",
    "takeover_sent": "takeovers asked for by upkeep",
    "start_sent_again": "starts sent again by upkeep",
    "step_sent_again": "steps sent again by upkeep",
    "record_waits": "records that waited for storage",
    "record_refused": "attempts that counted no more when they ended",
    "lease_lost": "leases lost",
    "lease_not_renewed": "leases that could not be renewed in time",
    "message_poisoned": "messages put aside as poison",
    "poison_sent_again": "poison messages sent again",
}


def print_plan(plan: Plan, console: Console) -> None:
    """What is to happen."""
    console.print(f"[bold]Seed {plan.seed}, {plan.minutes:g} minutes[/bold]")
    clocks = ", ".join(f"{seconds:+.1f} s" for seconds in plan.clocks)
    console.print(f"clocks of the {len(plan.clocks)} hosts: {clocks}")
    cancelled = sum(ask.cancel_after is not None for ask in plan.asks)
    console.print(f"{len(plan.asks)} runs asked for, {cancelled} of them to be cancelled")
    for event in plan.events:
        console.print(f"  {event.at:6.1f}  {event.told()}", highlight=False)


def print_result(result: Result, console: Console) -> None:
    """What happened, and whether it balances."""
    table = Table(title=f"Balance sheet, seed {result.plan.seed}", title_justify="left")
    table.add_column("")
    table.add_column("count", justify="right")
    table.add_column("wrong", justify="right")
    for line in result.sheet.lines:
        wrong = f"[red]{len(line.faults)}[/red]" if line.faults else "0"
        table.add_row(line.what, str(line.count), wrong)
    table.add_section()
    for what, count in _told(result).items():
        table.add_row(what, str(count), "")
    console.print(table)
    for line in result.sheet.lines:
        for fault in line.faults[:_SHOWN]:
            console.print(f"[red]{line.what}:[/red] {fault}", highlight=False, soft_wrap=True)
    verdict = (
        "[green]It balances.[/green]" if result.balances else "[red]IT DOES NOT BALANCE.[/red]"
    )
    console.print(verdict)


def write(result: Result, path: Path) -> None:
    """Writes plan and sheet as a JSON object."""
    document = {
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "processors": os.cpu_count(),
        "seed": result.plan.seed,
        "minutes": result.plan.minutes,
        "quiet_after_seconds": result.quiet_after,
        "balances": result.balances,
        "sheet": result.sheet.document(),
        "happened": _told(result),
        "actions": dict(result.logs.actions.most_common()),
        "errors": result.logs.errors[:50],
        "plan": asdict(result.plan),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, default=str) + "\n", "utf-8")


def _told(result: Result) -> dict[str, int]:
    happened = {
        "hosts started": result.hosts,
        "hosts killed": result.kills,
        "messages copied and put off": result.copied,
        "old messages sent once more": result.repeated,
    }
    actions = {what: result.logs.actions[action] for action, what in TOLD_ACTIONS.items()}
    return happened | result.sheet.told | actions | {"lines of errors": len(result.logs.errors)}
