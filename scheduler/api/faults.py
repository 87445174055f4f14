"""Faults in the caller's input: collected, with JSON pointers, stable codes and remedies."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from scheduler.api.body import pointer
from scheduler.api.job_wire import FORMATS
from scheduler.errors import FieldError, InvalidRequest
from scheduler.schedule.once import impossible_time
from scheduler.schedule.wording import counted, quoted

MOST = 100
"""Faults beyond these are not noted: their author has enough to do."""

_CODES = {
    "missing": "missing",
    "extra_forbidden": "unknown_field",
    "string_too_long": "too_long",
    "too_long": "too_long",
    "string_too_short": "too_short",
    "too_short": "too_short",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
    "finite_number": "out_of_range",
    "multiple_of": "out_of_range",
    "string_pattern_mismatch": "invalid_format",
    "enum": "invalid_choice",
    "literal_error": "invalid_choice",
    "timezone_aware": "missing_offset",
    "too_large": "too_large",
    "value_error": "invalid_value",
    "assertion_error": "invalid_value",
}
_MESSAGES = {
    "missing": "is required",
    "string_type": "must be a text, not {kind}",
    "int_type": "must be a whole number, not {kind}",
    "float_type": "must be a number, not {kind}",
    "bool_type": "must be true or false, not {kind}",
    "dict_type": "must be an object, not {kind}",
    "model_type": "must be an object, not {kind}",
    "list_type": "must be an array, not {kind}",
    "tuple_type": "must be an array, not {kind}",
    "greater_than": "must be over {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be {le} or less",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
    "timezone_aware": "must carry an offset, such as Z or -05:00",
    "datetime_type": "must be a time in ISO 8601, not {kind}",
}
_NO_TIME = "must be a time in ISO 8601, such as 2027-01-31T06:00:00Z"
_SECRET = re.compile(
    r"param|header|body|webhook|connection|secret|passw|pwd|token|key|credential|metadata",
    re.IGNORECASE,
)
"""Fields whose values no message shows, by their pointers."""
_MOST_DIGITS = 20


class Faults:
    """The faults found so far."""

    def __init__(self) -> None:
        self._errors: dict[tuple[str, str], FieldError] = {}

    @property
    def full(self) -> bool:
        """Whether there are so many that no more are noted."""
        return len(self._errors) >= MOST

    def add(self, where: str, code: str, message: str) -> None:
        """Notes one fault; a second one of the same code at the same place adds its text."""
        known = self._errors.get((where, code))
        if known is not None and message not in known.message:
            message = f"{known.message}, or {message}"
        if known is not None or not self.full:
            self._errors[where, code] = FieldError(where, code, message)

    def extend(self, errors: Iterable[FieldError], prefix: str = "") -> None:
        """Notes faults found elsewhere, their pointers below `prefix`."""
        for fault in errors:
            self.add(prefix + fault.pointer, fault.code, fault.message)

    def add_detail(self, detail: ErrorDetails, where: str) -> None:
        """Notes what pydantic found at this pointer."""
        shown = not _SECRET.search(where)
        self.add(where, _code(detail["type"]), _message(detail, shown=shown))

    def __bool__(self) -> bool:
        return bool(self._errors)

    def check(self) -> None:
        """Ends here when there are faults.

        Raises:
            InvalidRequest: with every one of them.
        """
        if self._errors:
            raise InvalidRequest(list(self._errors.values()))


def pointer_of(detail: ErrorDetails, document: Any, base: str, *, skip: int = 0) -> str:  # noqa: ANN401
    """The pointer of what pydantic found in the document, which itself is at `base`.

    The first `skip` parts of the location led to the document; the marks for members of a union
    are left out.
    """
    *parents, last = detail["loc"][skip:] or ("",)
    where, value = base, document
    for part in parents:
        if _holds(value, part):
            where, value = pointer(where, part), value[part]
    is_member = _holds(value, last) or (detail["type"] == "missing" and last != "")
    return pointer(where, last) if is_member else where


def _holds(value: Any, part: int | str) -> bool:  # noqa: ANN401
    if isinstance(value, list):
        return isinstance(part, int) and part < len(value)
    return isinstance(value, dict) and part in value


def did_you_mean(word: str, known: Collection[str]) -> str:
    """`; did you mean 'query'?` when a known word is near, else an empty text."""
    by_folded = {name.casefold(): name for name in known}
    near = get_close_matches(word.casefold()[:100], list(by_folded), 1, 0.6)
    return f"; did you mean {by_folded[near[0]]!r}?" if near else ""


def unknown_field(name: str, owner: str, known: Collection[str]) -> str:
    """The message for a field that `owner` (such as `a job`) does not have."""
    if not known:
        return f"{owner} has no fields; send no body"
    hint = did_you_mean(name, known) or f"; its fields: {', '.join(sorted(known))}"
    return f"is not a field of {owner}{hint}"


def kind_of(value: object) -> str:
    """What a JSON value is, in words: `a text`, `an object`."""
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list() | tuple():
            return "an array"
        case _:
            return "an object"


def _plain(value: object) -> object:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _shown(value: object) -> str:
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return kind_of(value)
    text = repr(value)
    return text if len(text) <= _MOST_DIGITS else f"{text[:_MOST_DIGITS]}…"


def _code(kind: str) -> str:
    if kind in _CODES:
        return _CODES[kind]
    if kind.startswith(("datetime", "date_", "time_")) and not kind.endswith("_type"):
        return "invalid_time"
    is_type = kind.endswith(("_type", "_parsing", "_from_float"))
    return "wrong_type" if is_type else "invalid_value"


def _message(detail: ErrorDetails, *, shown: bool) -> str:
    """What is wrong and what to write; names what was found where it may be `shown`."""
    ctx, kind, given = detail.get("ctx", {}), detail["type"], detail.get("input")
    found = f"; found {_shown(given)}" if shown else ""
    if kind.endswith(("too_long", "too_short")):
        return _length(ctx, given, "character" if kind.startswith("string") else "item")
    if kind in ("int_type", "int_from_float") and isinstance(given, float):
        return f"must be a whole number without point or exponent{found}"
    if kind.startswith("datetime") and isinstance(given, str) and "parsing" in kind:
        return (impossible_time(given) if shown else None) or _NO_TIME + found
    template = _MESSAGES.get(kind) or FORMATS.get(str(ctx.get("pattern")))
    if template is None:
        return detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    words = {name: _plain(value) for name, value in ctx.items()}
    message = template.format(**words, kind=kind_of(given))
    if _code(kind) in ("out_of_range", "invalid_choice"):
        message += found
    expected = words.get("expected")
    if shown and isinstance(expected, str) and isinstance(given, str):
        message += did_you_mean(given, expected.replace("'", "").replace(" or ", ", ").split(", "))
    return message


def _length(ctx: Mapping[str, Any], given: Any, unit: str) -> str:  # noqa: ANN401
    if ctx.get("min_length") == 1:
        return "must not be empty"
    limit = (
        f"at most {ctx['max_length']}" if "max_length" in ctx else f"at least {ctx['min_length']}"
    )
    return f"has {counted(len(given), unit)}; write {limit}"


@contextmanager
def below(where: str) -> Iterator[None]:
    """Puts the pointers of the faults that end the block below that of the document they are in.

    Raises:
        InvalidRequest: those faults.
    """
    try:
        yield
    except InvalidRequest as error:
        raise error.under(where) from None
