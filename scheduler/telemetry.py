"""Logs: one sentence, and keys that alerts, the workbook and the docs query.

`with bound(execution_id=…):` adds keys to every record logged inside, through `get_logger` loggers.
"""

import logging
import re
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_bound: ContextVar[Mapping[str, object]] = ContextVar("log_keys", default={})  # noqa: B039

LOG_KEYS = frozenset(
    {
        "action",
        "execution_id",
        "job_id",
        "step_id",
        "attempt",
        "timezone",
        "local_time",
        "duration_ms",
        "status",
        "error_code",
        "queue",
        "count",
        "principal",
        "trace_id",
        "lateness_seconds",
        "method",
        "route",
        "path",
        "address",
    }
)
"""Every key that a record may carry; what is queried elsewhere is one of these."""

# What ends a line, steers a terminal or turns the reading direction.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def one_line(text: str) -> str:
    """The text with control characters as escapes: it stays one line, and does nothing to it."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class KeyedLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger whose records carry the keys bound around them."""

    def process(
        self, msg: object, kwargs: MutableMapping[str, Any]
    ) -> tuple[object, MutableMapping[str, Any]]:
        """Adds the bound keys to the record's own; their texts stay on one line."""
        keys = {**_bound.get(), **(kwargs.get("extra") or {})}
        kwargs["extra"] = {
            name: one_line(value) if type(value) is str else value for name, value in keys.items()
        }
        return msg, kwargs


def get_logger(name: str) -> KeyedLogger:
    """The logger of a module: `log = get_logger(__name__)`."""
    return KeyedLogger(logging.getLogger(name), {})


@contextmanager
def bound(**keys: object) -> Iterator[None]:
    """Adds keys to every record that is logged inside."""
    token = _bound.set({**_bound.get(), **keys})
    try:
        yield
    finally:
        _bound.reset(token)
