"""YAML as a second spelling of JSON: the types of JSON, and nothing else that YAML can do."""

import math
import re
from typing import Any

import yaml
from yaml.events import (
    AliasEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from scheduler.errors import FieldError, MalformedBody

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,39})")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = "*@&!%`"
_QUOTE = f"; put quotes around a value that begins with one of {' '.join(_SPECIAL)}: '*/5 6 * * *'"
_LITERALS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def read_yaml(text: str, *, max_depth: int) -> Any:  # noqa: ANN401
    """Reads one YAML document as JSON types; times, `yes`, `on` and `12:30` stay texts.

    Raises:
        MalformedBody: not YAML, more than one document, too deep, or with anchors, aliases, tags,
            names given twice or names that are no texts; says the line.
    """
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
    try:
        return _Reader(loader, max_depth).document()
    except yaml.MarkedYAMLError as error:
        raise _malformed(f"the body is not YAML: {error.problem}{_place(text, error)}") from None
    except yaml.YAMLError:
        raise _malformed("the body is not YAML") from None
    finally:
        loader.dispose()


class _Reader:
    """Builds values from parser events, so that nothing else of YAML is ever interpreted."""

    def __init__(self, parser: Any, max_depth: int) -> None:  # noqa: ANN401
        self._parser = parser
        self._max_depth = max_depth

    def document(self) -> Any:  # noqa: ANN401
        self._next()
        if self._parser.check_event(yaml.StreamEndEvent):
            return None
        self._next()
        value = self._value(self._next(), 0)
        self._next()
        if not self._parser.check_event(yaml.StreamEndEvent):
            raise _malformed("the body holds more than one YAML document; send one")
        return value

    def _next(self) -> Event:
        event: Event = self._parser.get_event()
        return event

    def _value(self, event: Event, depth: int) -> Any:  # noqa: ANN401
        if depth > self._max_depth:
            raise _malformed(f"the body is nested more than {self._max_depth} levels deep")
        _refuse_extras(event)
        if isinstance(event, ScalarEvent):
            return _scalar(event)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(depth)
        if isinstance(event, MappingStartEvent):
            return self._mapping(depth)
        raise _malformed(f"unexpected content{_line(event)}")

    def _sequence(self, depth: int) -> list[Any]:
        items = []
        while not isinstance(event := self._next(), SequenceEndEvent):
            items.append(self._value(event, depth + 1))
        return items

    def _mapping(self, depth: int) -> dict[str, Any]:
        members: dict[str, Any] = {}
        while not isinstance(event := self._next(), MappingEndEvent):
            name = self._value(event, depth + 1)
            if not isinstance(name, str):
                raise _malformed(f"a name must be a text; put it in quotes{_line(event)}")
            if name in members:
                raise _malformed(
                    f"the name {name[:100]!r} is given twice{_line(event)}", "duplicate_name"
                )
            members[name] = self._value(self._next(), depth + 1)
        return members


def _refuse_extras(event: Event) -> None:
    if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
        raise _malformed(f"YAML anchors and aliases are not read here{_line(event)}{_QUOTE}")
    tag = getattr(event, "tag", None)
    if isinstance(event, NodeEvent) and tag not in (None, "!"):
        raise _malformed(f"the YAML tag {tag[:100]} is not read here{_line(event)}{_QUOTE}")


def _scalar(event: ScalarEvent) -> Any:  # noqa: ANN401
    text: str = event.value
    if not event.implicit[0]:
        return text
    if text in _LITERALS:
        return _LITERALS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text) and not _has_leading_zero(text):
        number = float(text)
        if not math.isfinite(number):
            raise _malformed(f"the number {text[:40]} is too large{_line(event)}")
        return number
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        raise _malformed(f"{text} is not a number that JSON has{_line(event)}")
    return text


def _has_leading_zero(text: str) -> bool:
    digits = text.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def _place(text: str, error: yaml.MarkedYAMLError) -> str:
    """Where it is, and the remedy when a value's first character is what YAML stumbles over."""
    lines = text.splitlines()
    for mark in filter(None, (error.context_mark, error.problem_mark)):
        line = lines[mark.line] if mark.line < len(lines) else ""
        if line[mark.column : mark.column + 1] in tuple(_SPECIAL):
            return f"{_at(mark)}{_QUOTE}"
    return _at(error.problem_mark) if error.problem_mark else ""


def _at(mark: yaml.Mark) -> str:
    return f" at line {mark.line + 1}, column {mark.column + 1}"


def _line(event: Event) -> str:
    mark = event.start_mark
    return f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""


def _malformed(message: str, code: str = "malformed_body") -> MalformedBody:
    return MalformedBody([FieldError("", code, message)], message=message)
