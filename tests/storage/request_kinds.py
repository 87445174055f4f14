"""What a request to storage is: its kind, in words, and for a query of a table its filter."""

import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

_TABLE = re.compile(r"[a-z][a-z0-9]+([A-Z][a-z]+)")
_BATCHED = re.compile(r"^(?:POST|PUT|PATCH|DELETE) http://[^/]+/[^/]+/(\w+)", re.MULTILINE)


def kind_of(request: Any) -> str:  # noqa: ANN401
    """What a request does to what: `Zones batch`, `Jobs query`, `tz send`, `outputs put`, …"""
    parts = urlsplit(request.url)
    path, method = parts.path, request.method
    if path.endswith("$batch"):
        first = _BATCHED.search(bytes(request.content).decode("utf-8", "replace"))
        return f"{_table(first[1]) if first else '?'} batch"
    _, _, name, *rest = path.split("/")
    if name == "Tables":
        return "tables create"
    if "(" in name:
        return f"{_table(name)} {'query' if '()' in name else 'get'}"
    resource = re.sub(r"^[a-z0-9]+-(tz|relay|definitions|outputs).*?(-poison)?$", r"\1\2", name)
    if rest[:1] == ["messages"]:
        peek = "peekonly" in parts.query
        verbs = {"POST": "send", "GET": "peek" if peek else "receive", "PUT": "update"}
        return f"{resource} {verbs.get(method, 'delete')}"
    if "comp=list" in parts.query:
        return f"{resource} list"
    verbs = {"PUT": "put" if rest else "create", "DELETE": "delete"}
    return f"{resource} {verbs.get(method, 'get')}"


def filter_of(request: Any) -> str:  # noqa: ANN401
    """The `$filter` of a query, "" when it has none."""
    return "".join(parse_qs(urlsplit(str(request.url)).query).get("$filter", []))


def _table(text: str) -> str:
    found = _TABLE.match(text)
    return found[1] if found else text
