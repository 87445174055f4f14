"""Templates in a job's values: `{{today}}`, `{{today-1d:%Y%m%d}}`, `{{attempt}}`.

A closed grammar, nothing is evaluated: `{{ name offset? (:format)? }}`.

- Dates `today`, `yesterday`, `tomorrow` give `2027-03-14`; times `now`, `scheduled_time` give ISO
  8601 with offset. All are those of the job's zone; dates are those of the scheduled instant.
- An offset is `+` or `-` with a count and a unit: `w` or `d` by the calendar (the same wall clock
  time), for times also `h`, `m`, `s` of elapsed time.
- A format, on dates and times, is text with the directives `%Y %y %m %d %j %B %b %A %a %u %w %V %G
  %H %I %M %S %p %%`, for times also `%z %:z %Z`.
- `execution_id`, `job_id`, `job_name`, `timezone` are text; `attempt` counts from 1.
- `steps.<id>.<value>` is a value that a step before this one has published.
- `{{{{` is a plain `{{`.

A string that is nothing but `{{attempt}}` is rendered as a number, so that it can be bound as one,
and one that is nothing but a published value as that value with its type; all else is text.
"""

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NoReturn, TypeGuard
from zoneinfo import ZoneInfo

from scheduler.errors import FieldError
from scheduler.jobs.model import Json

LONGEST_TEXT = 64 * 1024
"""Bytes (UTF-8) of a string that holds a template."""
LONGEST_FORMAT = 64
DEEPEST = 100
"""Levels of objects and arrays in a value."""

DATES = ("today", "yesterday", "tomorrow")
TIMES = ("now", "scheduled_time")
WORDS = ("execution_id", "job_id", "job_name", "timezone", "attempt")
NAMES = (*DATES, *TIMES, *WORDS)
"""Every name that a template may have."""

_BRACES = re.compile(r"\{\{\{\{|\{\{")
_EXPRESSION = re.compile(
    r"\s*(?P<name>[A-Za-z_]\w*)\s*(?:(?P<sign>[+-])\s*(?P<count>\d{1,6})(?P<unit>[a-z]))?\s*"
    r"(?::(?P<format>.*))?",
    re.ASCII | re.DOTALL,
)
_PUBLISHED = re.compile(
    r"\s*steps\s*\.\s*(?P<step>[A-Za-z_]\w*)\s*\.\s*(?P<value>[A-Za-z_]\w*)\s*", re.ASCII
)
_DIRECTIVE = re.compile(r"%(:z|.?)", re.DOTALL)
_DATE_DIRECTIVES = frozenset("YymdjBbAauwVGHIMSp%")
_TIME_DIRECTIVES = _DATE_DIRECTIVES | {"z", ":z", "Z"}
_UNITS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_LONGEST_OFFSET = timedelta(days=36_600)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateValues:
    """What the names stand for in one attempt of a step; instants are aware.

    `scheduled_time` is when the execution was due or asked for, `now` when it started; `published`
    the values of the steps before this one, by step id and name.
    """

    scheduled_time: datetime
    now: datetime
    execution_id: str
    job_id: str
    job_name: str
    timezone: str
    attempt: int
    published: Mapping[str, Mapping[str, Json]] = field(default_factory=dict)


class TemplateError(ValueError):
    """A template that cannot be read: a stable code, the column (from 1), and what to write."""

    def __init__(self, code: str, column: int, message: str) -> None:
        super().__init__(f"column {column}: {message}")
        self.code = code
        self.column = column


@dataclass(frozen=True, slots=True)
class _Template:
    name: str
    offset: timedelta
    by_calendar: bool
    format: str | None


@dataclass(frozen=True, slots=True)
class Reference:
    """That a template names a value which a step publishes: `{{steps.<step>.<value>}}`."""

    step: str
    value: str


def check(value: Json, pointer: str) -> list[FieldError]:
    """The faults of all templates in a JSON value; `pointer` is the value's own JSON pointer.

    Object keys are left alone. Codes: `invalid_template`, `unknown_template`.
    """
    faults = []
    for place, text in _strings(value, pointer, 0):
        if text is None:
            message = f"nested too deeply; at most {DEEPEST} levels are allowed"
            faults.append(FieldError(place, "invalid_template", message))
            continue
        try:
            list(_parts(text))
        except TemplateError as error:
            faults.append(FieldError(place, error.code, str(error)))
    return faults


def refuse(value: Json, pointer: str) -> list[FieldError]:
    """A fault for each string of a JSON value in which a template stands where none is allowed."""
    message = "templates are not rendered here; pass the value as a parameter"
    return [
        FieldError(place, "template_not_allowed", message)
        for place, text in _strings(value, pointer, 0)
        if text is not None and _mentions_template(text)
    ]


def references(value: Json, pointer: str = "") -> Iterator[tuple[str, Reference]]:
    """Every published value that a JSON value names, with the pointer of the string it stands in.

    What cannot be read is left out: `check` tells of it.
    """
    for place, text in _strings(value, pointer, 0):
        try:
            parts = list(_parts(text or ""))
        except TemplateError:
            continue
        yield from ((place, part) for part in parts if isinstance(part, Reference))


def render(value: Json, values: TemplateValues) -> Json:
    """The value with every template replaced; what holds none comes back as it is.

    Raises:
        TemplateError: a template that `check` would have refused.
        ValueNotPublished: it names a value that is not among those published.
    """
    if isinstance(value, str):
        return _render_text(value, values) if "{{" in value else value
    if isinstance(value, dict):
        return {key: render(item, values) for key, item in value.items()}
    if _is_array(value):
        return [render(item, values) for item in value]
    return value


def _is_array(value: Json) -> TypeGuard[list[Json] | tuple[Json, ...]]:
    return isinstance(value, list | tuple)


def _strings(value: Json, pointer: str, depth: int) -> Iterator[tuple[str, str | None]]:
    """Each string with its pointer; None in its place where the value is nested too deeply."""
    if isinstance(value, str):
        yield pointer, value
    elif depth >= DEEPEST:
        yield pointer, None
    elif isinstance(value, dict):
        for key, item in value.items():
            step = str(key).replace("~", "~0").replace("/", "~1")
            yield from _strings(item, f"{pointer}/{step}", depth + 1)
    elif _is_array(value):
        for index, item in enumerate(value):
            yield from _strings(item, f"{pointer}/{index}", depth + 1)


def _mentions_template(text: str) -> bool:
    return any(
        match.group() == "{{" and _named(text, match.end()) for match in _BRACES.finditer(text)
    )


def _named(text: str, start: int) -> bool:
    word = re.compile(r"\s*(\w+)", re.ASCII).match(text, start)
    return word is not None and word[1] in (*NAMES, "secret", "steps")


def _render_text(text: str, values: TemplateValues) -> Json:
    parts = list(_parts(text))
    rendered = [part if isinstance(part, str) else _render(part, values) for part in parts]
    return rendered[0] if len(rendered) == 1 else "".join(map(_text, rendered))


def _text(value: Json) -> str:
    """A published value within a text: null, true and false as JSON has them."""
    return value if isinstance(value, str) else json.dumps(value)


def _parts(text: str) -> Iterator[str | _Template | Reference]:
    """The text as plain strings and templates, in order."""
    start = 0
    if "{{" in text and len(text.encode("utf-8", "surrogatepass")) > LONGEST_TEXT:
        _fail("invalid_template", 1, f"text with templates is limited to {LONGEST_TEXT} bytes")
    while (opening := _BRACES.search(text, start)) is not None:
        if opening.start() > start:
            yield text[start : opening.start()]
        if opening.group() == "{{{{":
            yield "{{"
            start = opening.end()
            continue
        column = opening.start() + 1
        end = text.find("}}", opening.end())
        if end < 0:
            _fail("invalid_template", column, "'{{' is not closed; write }} or, for text, {{{{")
        yield _parse(text[opening.end() : end], column)
        start = end + 2
    if start < len(text) or not text:
        yield text[start:]


def _parse(text: str, column: int) -> _Template | Reference:
    published = _PUBLISHED.fullmatch(text)
    if published is not None:
        return Reference(published["step"], published["value"])
    match = _EXPRESSION.fullmatch(text)
    if match is None or match["name"] not in NAMES:
        _fail_name(text.strip(), column)
    name = match["name"]
    kind = "date" if name in DATES else "time" if name in TIMES else "word"
    if kind == "word" and (match["sign"] or match["format"] is not None):
        _fail("invalid_template", column, f"{name} takes no offset and no format")
    if match["format"] is not None:
        _check_format(match["format"], kind, column)
    unit = match["unit"]
    return _Template(
        name, _offset(match, kind, column), unit is None or unit in "wd", match["format"]
    )


def _offset(match: re.Match[str], kind: str, column: int) -> timedelta:
    if match["sign"] is None:
        return timedelta(0)
    allowed = "wd" if kind == "date" else "wdhms"
    if match["unit"] not in allowed:
        units = ", ".join(allowed)
        _fail("invalid_template", column, f"an offset of {match['name']} has a unit of {units}")
    offset = timedelta(seconds=int(match["count"]) * _UNITS[match["unit"]])
    if offset > _LONGEST_OFFSET:
        _fail("invalid_template", column, f"an offset is at most {_LONGEST_OFFSET.days}d")
    return -offset if match["sign"] == "-" else offset


def _check_format(text: str, kind: str, column: int) -> None:
    if not 0 < len(text) <= LONGEST_FORMAT or not text.isprintable():
        message = f"a format has 1 to {LONGEST_FORMAT} printable characters"
        _fail("invalid_template", column, message)
    allowed = _DATE_DIRECTIVES if kind == "date" else _TIME_DIRECTIVES
    for match in _DIRECTIVE.finditer(text):
        if match[1] not in allowed:
            known = " ".join(f"%{directive}" for directive in sorted(allowed))
            message = f"'{match[0]}' is not a directive of a {kind}; write one of {known}"
            _fail("invalid_template", column, message)


def _fail_name(text: str, column: int) -> NoReturn:
    if re.match(r"steps\b", text):
        message = f"'{text[:LONGEST_FORMAT]}' cannot be read; write {{{{steps.<id>.<value>}}}}"
        _fail("invalid_template", column, message)
    if re.match(r"secret\s*:", text):
        _fail("unknown_template", column, "references to secrets are not available")
    word = re.match(r"\w*", text, re.ASCII)
    name = word[0] if word else ""
    shown = text[:LONGEST_FORMAT]
    if name in NAMES:
        form = name if name in WORDS else f"{name}-1d}}}} or {{{{{name}:%Y%m%d"
        _fail("invalid_template", column, f"'{shown}' cannot be read; write {{{{{form}}}}}")
    near = difflib.get_close_matches(name[:LONGEST_FORMAT].lower(), NAMES, n=1)
    remedy = f"did you mean {near[0]}?" if near else f"write one of {', '.join(NAMES)}"
    _fail("unknown_template", column, f"'{shown}' is not known; {remedy}")


def _fail(code: str, column: int, message: str) -> NoReturn:
    raise TemplateError(code, column, message)


class ValueNotPublished(LookupError):
    """A template names a value that its step has not published."""

    def __init__(self, reference: Reference) -> None:
        super().__init__(f"{reference.step}.{reference.value}")
        self.reference = reference


def _render(template: _Template | Reference, values: TemplateValues) -> Json:
    if isinstance(template, Reference):
        published = values.published.get(template.step, {})
        if template.value not in published:
            raise ValueNotPublished(template)
        return published[template.value]
    name, text = template.name, template.format
    if name in DATES:
        day = _date(name, values) + template.offset
        return day.isoformat() if text is None else day.strftime(text)
    if name in TIMES:
        time = _time(template, values)
        return time.isoformat("T", "seconds") if text is None else time.strftime(text)
    word: str | int = getattr(values, name)
    return word


def _date(name: str, values: TemplateValues) -> date:
    today = values.scheduled_time.astimezone(ZoneInfo(values.timezone)).date()
    days = {"yesterday": -1, "today": 0, "tomorrow": 1}
    return today + timedelta(days=days[name])


def _time(template: _Template, values: TemplateValues) -> datetime:
    zone = ZoneInfo(values.timezone)
    instant = values.now if template.name == "now" else values.scheduled_time
    local = instant.astimezone(zone)
    if not template.offset:
        return local
    if template.by_calendar:
        # By way of UTC: a wall time that a clock change skips becomes one that exists.
        return (local + template.offset).astimezone(UTC).astimezone(zone)
    return (local.astimezone(UTC) + template.offset).astimezone(zone)
