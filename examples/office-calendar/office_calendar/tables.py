"""Executions as rich tables."""

from datetime import UTC, datetime
from typing import Any

from rich.box import ROUNDED
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from office_calendar.api import Document

STYLES = {
    "pending": "dim",
    "running": "cyan",
    "retrying": "yellow",
    "success": "green",
    "failed": "red",
    "timeout": "red",
    "skipped": "dim",
}
MARKS = {"pending": "·", "success": "✓", "failed": "✗", "timeout": "✗", "skipped": "-"}
FRAME = "bright_black"

_spinners = {status: Spinner("dots", style=STYLES[status]) for status in ("running", "retrying")}


def steps_table(execution: Document) -> Table:
    """The steps with state, attempts, duration and result."""
    table = Table(box=ROUNDED, border_style=FRAME, header_style="bold", expand=True)
    table.add_column("")
    table.add_column("step", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("attempts", justify="right")
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("result", ratio=1)
    for step in execution["steps"]:
        status = step["status"]
        style = STYLES.get(status, "")
        table.add_row(
            _spinners.get(status) or Text(MARKS.get(status, "?"), style),
            Text(step["step_id"], "dim" if status in ("pending", "skipped") else ""),
            Text(status, style),
            str(step["attempts"] or ""),
            _duration(step),
            result_of(step),
        )
    return table


def execution_view(execution: Document, note: str = "") -> RenderableType:
    """The steps; below them what led to retries, and while its time has not come, `note`."""
    lines = [
        f"{step['step_id']}, attempt {attempt['attempt']}: {attempt['error_message']}"
        for step in execution["steps"]
        for attempt in step["attempt_history"]
        if attempt["attempt"] < step["attempts"] or step["status"] == "retrying"
    ]
    due = datetime.fromisoformat(execution["scheduled_time"])
    ahead = (due - datetime.now(UTC)).total_seconds()
    if note and execution["status"] == "pending" and ahead > 0:
        lines.append(f"{note}, in {ahead:.0f} s")
    below = [Padding(Text(line, "dim"), (0, 2)) for line in lines]
    return Group(steps_table(execution), *below)


def rows_table(rows: list[dict[str, Any]]) -> Table:
    """Result rows as they are; numbers stand to the right."""
    table = Table(box=ROUNDED, border_style=FRAME, header_style="bold")
    for name, value in rows[0].items():
        table.add_column(name, justify="right" if isinstance(value, int) else "left")
    for row in rows:
        table.add_row(*(_shown(value) for value in row.values()))
    return table


def result_of(step: Document) -> str:
    """What a step came to, in one line."""
    if step["status"] == "retrying" and step["next_attempt_at"]:
        return f"tries again at {datetime.fromisoformat(step['next_attempt_at']):%H:%M:%S} UTC"
    if step["error_message"] and step["status"] != "success":
        return str(step["error_message"])
    rows = (step["output"] or {}).get("rows", [])
    if len(rows) != 1:
        return f"{len(rows)} rows" if rows else ""
    return ", ".join(f"{name}: {_shown(value)}" for name, value in rows[0].items())


def _duration(step: Document) -> str:
    if step["start_time"] is None:
        return ""
    seconds = step["duration_seconds"]
    if seconds is None:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(step["start_time"])).total_seconds()
    return f"{max(seconds, 0):.2f} s"


def _shown(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
