"""Names of time zones: any IANA name, in any case, and good advice for everything else."""

import difflib
import importlib
import re
from zoneinfo import available_timezones

from scheduler.errors import ScheduleError
from scheduler.schedule.windows_zones import WINDOWS_ZONES

_NO_PLACES = {"localtime", "Factory"}
ZONES: frozenset[str] = frozenset(available_timezones() - _NO_PLACES)
"""Every zone's canonical name; aliases such as `US/Eastern` are zones of their own."""

_BY_LOWER = {name.lower(): name for name in ZONES}
_BY_WINDOWS = {name.lower(): zone for name, zone in WINDOWS_ZONES.items()}
_FIXED = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?00)?", re.ASCII | re.IGNORECASE)
_LONGEST_NAME = 100
_SUGGESTIONS = 3


def tzdata_version() -> str:
    """The version of the zone data in use, as IANA names it: `2026f`."""
    return str(importlib.import_module("tzdata").IANA_VERSION)


def resolve_timezone(name: str) -> str:
    """The canonical name of a zone given in any case.

    Raises:
        ScheduleError: `unknown_timezone`, with the IANA name of a Windows one, or near names.
    """
    zone = _BY_LOWER.get(name.lower())
    if zone is None:
        raise ScheduleError("timezone", "unknown_timezone", _advice(name[:_LONGEST_NAME]))
    return zone


def _advice(name: str) -> str:
    windows = _BY_WINDOWS.get(name.strip().lower())
    if windows is not None:
        return f"'{name}' is a Windows name; write '{windows}'"
    fixed = _FIXED.fullmatch(name.strip())
    if fixed is not None:
        # The sign in Etc/GMT-2 counts from the zone to Greenwich: it is reversed.
        zone = f"Etc/GMT{'-' if fixed[1] == '+' else '+'}{int(fixed[2])}"
        place = f", or '{zone}' for a fixed offset" if zone in ZONES else ""
        return f"'{name}' is an offset, not a zone; write a place like 'Europe/Paris'{place}"
    near = near_zones(name)
    if near:
        return f"'{name}' is not an IANA time zone; did you mean {' or '.join(near)}?"
    return f"'{name}' is not an IANA time zone; write a name like 'America/New_York' or 'UTC'"


def near_zones(name: str) -> list[str]:
    """Up to three zones that the author of an unknown name may have meant, the nearest first."""
    wanted = name.strip().lower().replace(" ", "_")
    cities = [zone for lower, zone in _BY_LOWER.items() if lower.split("/")[-1] == wanted]
    alike = difflib.get_close_matches(wanted, _BY_LOWER, n=_SUGGESTIONS, cutoff=0.75)
    near = [*sorted(cities, key=_preference), *(_BY_LOWER[lower] for lower in alike)]
    return list(dict.fromkeys(near))[:_SUGGESTIONS]


def _preference(zone: str) -> tuple[int, str]:
    return len(zone), zone
