"""Reads the values of rows as what they were written as."""

from datetime import datetime

from scheduler.storage.tables import Value


def instant(value: Value) -> datetime:
    """An instant.

    Raises:
        TypeError: the value is none.
    """
    if not isinstance(value, datetime):
        raise TypeError(f"{value!r} is no instant")
    return value


def optional_instant(value: Value) -> datetime | None:
    """An instant, or None where there is no value."""
    return None if value is None else instant(value)


def optional_text(value: Value) -> str | None:
    """A text, or None where it is empty or absent."""
    return str(value) if value else None


def number(value: Value) -> int:
    """A whole number; 0 where there is no value."""
    return int(str(value)) if value else 0
