"""What the example shows: moving tables on a terminal, plain lines everywhere else."""

import io
import sys
from collections.abc import Iterable

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from office_calendar.api import Document
from office_calendar.checks import Check
from office_calendar.tables import execution_view, result_of, rows_table

PLAIN_WIDTH = 100
WIDEST = 110


class Screen:
    """Standard output, as a person reads it."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace", line_buffering=True)
        self._console = Console(highlight=False, emoji=False, markup=False)
        self._moves = self._console.is_terminal and not self._console.is_dumb_terminal
        if not self._console.is_terminal:
            self._console.width = PLAIN_WIDTH
        elif self._console.width > WIDEST:
            self._console.width = WIDEST

    def title(self, text: str) -> None:
        """Begins a part."""
        self._console.print()
        self._console.print(Text(text, "bold"))

    def line(self, text: str, style: str = "") -> None:
        """One line."""
        self._console.print(Text(text, style), soft_wrap=True)

    def fact(self, name: str, text: str) -> None:
        """A name and what is to be said of it."""
        self._console.print(Text.assemble("  ", (f"{name:<11}", "cyan"), text))

    def follow(self, states: Iterable[Document], note: str = "") -> Document:
        """Shows an execution until its states end; returns the last one."""
        if not self._moves:
            return self._follow_by_lines(states, note)
        last: Document | None = None

        def picture() -> RenderableType:
            return "" if last is None else execution_view(last, note)

        with Live(console=self._console, get_renderable=picture, refresh_per_second=10):
            for execution in states:
                last = execution
        assert last is not None, "an execution has at least one state"
        return last

    def _follow_by_lines(self, states: Iterable[Document], note: str) -> Document:
        if note:
            self.line(f"  {note}")
        told: dict[str, tuple[str, int]] = {}
        last: Document = {}
        for last in states:
            for step in last["steps"]:
                news = (step["status"], step["attempts"])
                if news != told.get(step["step_id"], ("pending", 0)):
                    told[step["step_id"]] = news
                    self._tell(step)
        self._console.print(execution_view(last))
        return last

    def _tell(self, step: Document) -> None:
        words = f"  {step['step_id']}: {step['status']}, attempt {step['attempts']}"
        result = result_of(step)
        self.line(f"{words}: {result}" if result else words)

    def rows(self, rows: list[dict[str, object]]) -> None:
        """Result rows as a table."""
        self._console.print(rows_table(rows))

    def checks(self, checks: Iterable[Check]) -> None:
        """What was looked at, and whether it was so."""
        for check in checks:
            mark = ("✓ ", "green") if check.passed else ("✗ ", "red")
            self._console.print(Text.assemble("  ", mark, str(check)), soft_wrap=True)

    def failure(self, reason: str) -> None:
        """Why the example ends without success; goes to standard error."""
        Console(stderr=True, highlight=False).print(
            Text.assemble(("✗ ", "red"), reason), soft_wrap=True
        )
