"""Route templates as the host reads them: `jobs/{id:int}/{*rest}`, matched without case."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from tools.devhost.errors import AppFailed

PARAMETER = re.compile(
    r"\{(?P<star>\*{0,2})(?P<name>\w+)(?P<rules>(?::\w+(?:\([^)]*\))?)*)"
    r"(?:=(?P<default>[^{}?]*))?(?P<optional>\?)?\}"
)
RULE = re.compile(r":(\w+)(?:\(([^)]*)\))?")
GUID = re.compile(r"\{?[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\}?", re.IGNORECASE)

RULES: Mapping[str, Callable[[str, str], bool]] = {
    "int": lambda text, _: _whole(text, -(2**31), 2**31 - 1),
    "long": lambda text, _: _whole(text, -(2**63), 2**63 - 1),
    "min": lambda text, low: _whole(text, int(low), 2**63 - 1),
    "max": lambda text, high: _whole(text, -(2**63), int(high)),
    "range": lambda text, ends: _whole(text, *map(int, ends.split(","))),
    "bool": lambda text, _: text.lower() in ("true", "false"),
    "alpha": lambda text, _: re.fullmatch(r"[A-Za-z]*", text) is not None,
    "guid": lambda text, _: GUID.fullmatch(text) is not None,
    "minlength": lambda text, low: len(text) >= int(low),
    "maxlength": lambda text, high: len(text) <= int(high),
    "length": lambda text, ends: _in_range(len(text), ends),
}


@dataclass(frozen=True, slots=True)
class Route[T]:
    """One template with its methods (none: every method) and what it leads to."""

    pattern: re.Pattern[str]
    rules: tuple[tuple[str, str, str], ...]
    defaults: Mapping[str, str]
    methods: frozenset[str]
    order: tuple[Any, ...]
    target: T

    def match(self, path: str) -> dict[str, str] | None:
        """The route's parameters in this path, None when it does not fit."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        values = {name: value for name, value in found.groupdict().items() if value is not None}
        for name, rule, argument in self.rules:
            if name in values and not RULES[rule](values[name], argument):
                return None
        return {**self.defaults, **values}


class Router[T]:
    """Routes in the host's order: text before parameters, longer before shorter."""

    def __init__(self, routes: Iterable[Route[T]]) -> None:
        """Sorts the routes."""
        self.routes = sorted(routes, key=lambda route: route.order)

    def find(self, method: str, path: str) -> tuple[T, dict[str, str]] | None:
        """The target for a method and a raw path, and the route's parameters.

        A wrong method is no match, as in the host, which answers 404 and never 405.
        """
        decoded = "/".join(_decoded(segment) for segment in path.strip("/").split("/"))
        for route in self.routes:
            if route.methods and method.upper() not in route.methods:
                continue
            values = route.match(decoded)
            if values is not None:
                return route.target, values
        return None


def parse_route[T](template: str, methods: Iterable[str], target: T) -> Route[T]:
    """Compiles a template; raises AppFailed on a constraint or syntax that is not known here."""
    pattern, rules, order = "", [], []
    defaults: dict[str, str] = {}
    for segment in filter(None, template.strip("/").split("/")):
        parameters = list(PARAMETER.finditer(segment))
        slash = "/" if pattern else ""
        pattern += _segment(segment, parameters, slash)
        for found in parameters:
            for rule, argument in RULE.findall(found["rules"]):
                if rule not in RULES:
                    raise AppFailed(f"the route {template!r} has the unknown constraint {rule!r}")
                rules.append((found["name"], rule, argument))
            if found["default"] is not None:
                defaults[found["name"]] = found["default"]
        starts_with_parameter = bool(parameters) and parameters[0].start() == 0
        order.append((1, -len(rules), "") if starts_with_parameter else (0, 0, segment.lower()))
    return Route(
        pattern=re.compile(pattern, re.IGNORECASE | re.DOTALL),
        rules=tuple(rules),
        defaults=defaults,
        methods=frozenset(method.upper() for method in methods),
        order=(*order, (2, 0, "")),
        target=target,
    )


def _segment(segment: str, parameters: list[re.Match[str]], slash: str) -> str:
    pattern, end, optional = "", 0, False
    for found in parameters:
        pattern += _literal(segment[end : found.start()])
        wanted = ".*" if found["star"] else "[^/]+?"
        pattern += f"(?P<{found['name']}>{wanted})"
        optional |= bool(found["star"] or found["optional"] or found["default"] is not None)
        end = found.end()
    pattern += _literal(segment[end:])
    return f"(?:{slash}{pattern})?" if optional else slash + pattern


def _literal(text: str) -> str:
    if "{" in text or "}" in text:
        raise AppFailed(f"the route segment {text!r} cannot be read")
    return re.escape(text)


def _decoded(segment: str) -> str:
    return "%2F".join(unquote(part) for part in re.split("%2[Ff]", segment))


def _whole(text: str, low: int, high: int) -> bool:
    return re.fullmatch(r"[+-]?\d+", text, re.ASCII) is not None and low <= int(text) <= high


def _in_range(number: int, ends: str) -> bool:
    low, _, high = ends.partition(",")
    return int(low) <= number <= int(high or low)
