"""Names of time zones: any IANA name, in any case, and good advice for everything else."""

import difflib
import importlib
import re
import unicodedata
from zoneinfo import available_timezones

from scheduler.errors import ScheduleError
from scheduler.schedule.cities import CITIES
from scheduler.schedule.windows_zones import WINDOWS_ZONES
from scheduler.schedule.wording import quoted

_NO_PLACES = {"localtime", "Factory"}
ZONES: frozenset[str] = frozenset(available_timezones() - _NO_PLACES)
"""Every zone's canonical name; aliases such as `US/Eastern` are zones of their own."""

ABBREVIATIONS = {
    "PST": ("America/Los_Angeles",),
    "PDT": ("America/Los_Angeles",),
    "MDT": ("America/Denver",),
    "CST": ("America/Chicago", "Asia/Shanghai"),
    "CDT": ("America/Chicago",),
    "EDT": ("America/New_York",),
    "AST": ("America/Halifax", "Asia/Riyadh"),
    "ADT": ("America/Halifax",),
    "AKST": ("America/Anchorage",),
    "AKDT": ("America/Anchorage",),
    "BRT": ("America/Sao_Paulo",),
    "BST": ("Europe/London", "Asia/Dhaka"),
    "WEST": ("Europe/Lisbon",),
    "CEST": ("Europe/Berlin",),
    "EEST": ("Europe/Athens",),
    "MSK": ("Europe/Moscow",),
    "SAST": ("Africa/Johannesburg",),
    "WAT": ("Africa/Lagos",),
    "CAT": ("Africa/Maputo",),
    "EAT": ("Africa/Nairobi",),
    "GST": ("Asia/Dubai",),
    "IST": ("Asia/Kolkata", "Europe/Dublin", "Asia/Jerusalem"),
    "PKT": ("Asia/Karachi",),
    "SGT": ("Asia/Singapore",),
    "HKT": ("Asia/Hong_Kong",),
    "JST": ("Asia/Tokyo",),
    "KST": ("Asia/Seoul",),
    "AWST": ("Australia/Perth",),
    "ACST": ("Australia/Darwin", "Australia/Adelaide"),
    "ACDT": ("Australia/Adelaide",),
    "AEST": ("Australia/Sydney", "Australia/Brisbane"),
    "AEDT": ("Australia/Sydney",),
    "NZST": ("Pacific/Auckland",),
    "NZDT": ("Pacific/Auckland",),
    "Z": ("UTC",),
}
"""Abbreviations that are no zones of their own, with the places that their authors may mean."""

_BY_LOWER = {name.lower(): name for name in ZONES}
_BY_WINDOWS = {name.lower(): zone for name, zone in WINDOWS_ZONES.items()}
_BY_CITY = {name.lower().replace(" ", "_"): zone for name, zone in CITIES.items()}
_FIXED = re.compile(
    r"(?:utc|gmt)?\s*(?P<sign>[+-])(?P<hours>\d{1,2})(?::?(?P<minutes>\d\d))?", re.ASCII
)
_FORM = "write a name like 'America/New_York' or 'UTC'; GET /api/v2/timezones lists them"
_LONGEST_NAME = 100
_SUGGESTIONS = 3
_ALIKE = 0.75


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
    shown, plain = quoted(name), name.strip().lower()
    windows = _BY_WINDOWS.get(plain.replace(" daylight ", " standard "))
    if windows is not None:
        return f"{shown} is a Windows name; write '{windows}'"
    places = ABBREVIATIONS.get(plain.upper())
    if places is not None:
        return f"{shown} is an abbreviation, not a zone; write {_choice(places)}"
    fixed = _FIXED.fullmatch(plain)
    if fixed is not None:
        return f"{shown} is an offset, not a zone; write a place like 'Europe/Paris'{_etc(fixed)}"
    if not plain:
        return f"the time zone is empty; {_FORM}"
    near = near_zones(name)
    if near:
        return f"{shown} is not an IANA time zone; did you mean {' or '.join(near)}?"
    return f"{shown} is not an IANA time zone; {_FORM}"


def _etc(fixed: re.Match[str]) -> str:
    """The zone of a fixed offset in whole hours. Its sign counts from the zone to Greenwich."""
    zone = f"Etc/GMT{'-' if fixed['sign'] == '+' else '+'}{int(fixed['hours'])}"
    whole = int(fixed["minutes"] or 0) == 0 and zone in ZONES
    return f", or '{zone}' for a fixed offset" if whole else ""


def _choice(places: tuple[str, ...]) -> str:
    return " or ".join(f"'{place}'" for place in places)


def near_zones(name: str) -> list[str]:
    """Up to three zones that the author of an unknown name may have meant, the nearest first."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    wanted = letters.strip().lower().replace(" ", "_")
    if wanted in _BY_LOWER:
        return [_BY_LOWER[wanted]]
    city = wanted.rpartition("/")[2]
    if city in _BY_CITY:
        return [_BY_CITY[city]]
    places = [zone for lower, zone in _BY_LOWER.items() if lower.rpartition("/")[2] == wanted]
    alike = difflib.get_close_matches(wanted, _BY_LOWER, n=_SUGGESTIONS, cutoff=_ALIKE)
    near = [*sorted(places, key=_preference), *(_BY_LOWER[lower] for lower in alike)]
    return list(dict.fromkeys(near or _near_cities(wanted)))[:_SUGGESTIONS]


def _near_cities(city: str) -> list[str]:
    """The zones of the cities with a name like this one; a region before it asks for more."""
    zones: dict[str, list[str]] = {name: [zone] for name, zone in _BY_CITY.items()}
    for lower, zone in _BY_LOWER.items():
        zones.setdefault(lower.rpartition("/")[2], []).append(zone)
    alike = difflib.get_close_matches(city, zones, n=_SUGGESTIONS, cutoff=_ALIKE)
    return [zone for name in alike for zone in sorted(zones[name], key=_preference)]


def _preference(zone: str) -> tuple[int, str]:
    return len(zone), zone
