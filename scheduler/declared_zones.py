"""`SCHEDULER_TIMEZONES`, read alone: indexing the app needs these names and no other setting.

It must not fail because another setting is wrong, and must not load what reads all of them.
"""

from collections.abc import Mapping
from functools import cache
from zoneinfo import available_timezones

SETTING = "SCHEDULER_TIMEZONES"
DEFAULT_TIMEZONES = "UTC,America/New_York,America/Los_Angeles,Europe/London,Asia/Tokyo,Asia/Kolkata"


def split_words(text: str) -> tuple[str, ...]:
    """The words between commas, without blanks around them."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def is_declarable(name: str) -> bool:
    """Whether a zone of this very name may be declared; `localtime` and `Factory` are no zones."""
    return name in _declarable()


def declared_zones(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The declared zones that there are, each once; wrong names are left to `Settings.load`."""
    names = split_words(environ.get(SETTING) or DEFAULT_TIMEZONES)
    return tuple(dict.fromkeys(name for name in names if is_declarable(name)))


@cache
def _declarable() -> frozenset[str]:
    return frozenset(available_timezones() - {"localtime", "Factory"})
