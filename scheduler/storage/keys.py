"""Instants as row keys: texts that sort by time, upwards or downwards."""

from collections.abc import Iterable
from datetime import UTC, datetime

_FORMAT = "%Y%m%dT%H%M%S"
_END = 10**17
"""Microseconds since 1970, later than any instant in use: in the year 5138."""


def sortable(instant: datetime) -> str:
    """An instant as `20261123T020000.000000Z`; texts sort as the instants do."""
    moment = instant.astimezone(UTC)
    return f"{moment:{_FORMAT}}.{moment.microsecond:06d}Z"


def from_sortable(text: str) -> datetime:
    """Reads what `sortable` wrote."""
    return datetime.strptime(text, f"{_FORMAT}.%fZ").replace(tzinfo=UTC)


def inverted(instant: datetime) -> str:
    """An instant as 17 digits that sort the other way: the latest first."""
    microseconds = int(instant.timestamp()) * 1_000_000 + instant.microsecond
    return f"{_END - microseconds:017d}"


def after(prefix: str) -> str:
    """The least key that is beyond every key with this prefix."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)


def span(prefixes: Iterable[str]) -> tuple[str, str]:
    """The least key with one of these prefixes, and the least beyond all of them."""
    ordered = sorted(prefixes)
    return ordered[0], after(ordered[-1])
