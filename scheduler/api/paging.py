"""Pages of lists: the limit, and the opaque continuation that says where to go on."""

import base64
import binascii
import json
import re
from collections.abc import Mapping

from scheduler.errors import InvalidRequest

DEFAULT_LIMIT = 50
MAX_LIMIT = 200


def read_limit(query: Mapping[str, str]) -> int:
    """The query's `limit`, from 1 to 200; 50 when absent.

    Raises:
        InvalidRequest: it is no such number.
    """
    text = query.get("limit")
    if text is None:
        return DEFAULT_LIMIT
    if not re.fullmatch("[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_LIMIT:
        raise InvalidRequest.of(
            "", "invalid_limit", f"limit must be a whole number from 1 to {MAX_LIMIT}"
        )
    return int(text)


def write_continuation(place: Mapping[str, str]) -> str:
    """An opaque text for a place in a list."""
    return base64.urlsafe_b64encode(json.dumps(dict(place)).encode()).decode().rstrip("=")


def read_continuation(query: Mapping[str, str], names: frozenset[str]) -> dict[str, str] | None:
    """The place that the query's `continuation` names; None for the beginning.

    Raises:
        InvalidRequest: it is none that this list gave out.
    """
    text = query.get("continuation")
    if text is None:
        return None
    try:
        place = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        place = None
    if (
        not isinstance(place, dict)
        or place.keys() != names
        or not all(isinstance(value, str) for value in place.values())
    ):
        raise invalid_continuation()
    return place


def invalid_continuation() -> InvalidRequest:
    """The error for a continuation that no list gave out."""
    return InvalidRequest.of(
        "", "invalid_continuation", "continuation must be one that this list's next_link holds"
    )


def read_flag(query: Mapping[str, str], name: str) -> bool:
    """A query parameter that is `true` or `false`; false when absent.

    Raises:
        InvalidRequest: it is neither.
    """
    text = query.get(name, "false").lower()
    if text not in ("true", "false"):
        raise InvalidRequest.of("", "invalid_flag", f"{name} must be true or false")
    return text == "true"
