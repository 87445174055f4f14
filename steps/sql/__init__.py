"""The `sql` step type. Its client libraries are loaded when a step first runs, not here."""

from steps.sql.step import SqlStep

__all__ = ["SqlStep"]
