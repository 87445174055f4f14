"""From a cursor's result sets to JSON.

A row is an object, so that it reads by itself; a column name that repeats gets a number behind it
(`id`, `id_2`), a column without a name is called by its place (`column_3`).
"""

import base64
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

_TYPE_WORDS: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    Decimal: "decimal",
    str: "text",
    datetime: "datetime",
    date: "date",
    time: "time",
    bytes: "binary",
    bytearray: "binary",
}
_SETS_KEPT = 10
_NOTICES_KEPT = 100


def to_json(value: object) -> Any:  # noqa: ANN401
    """A database value as JSON: decimals as text, times as ISO 8601, bytes as base64."""
    match value:
        case float() if not math.isfinite(value):
            return str(value)
        case None | bool() | int() | float() | str():
            return value
        case date() | time():
            return value.isoformat()
        case bytes() | bytearray():
            return base64.b64encode(value).decode()
        case _:
            return str(value)


def column_names(names: Sequence[str]) -> list[str]:
    """Names for the keys of a row: none empty, none twice."""
    chosen: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        base = unique = name.replace("\0", "") or f"column_{place}"
        while unique in chosen:
            numbers[base] = numbers.get(base, 1) + 1
            unique = f"{base}_{numbers[base]}"
        chosen[unique] = None
    return list(chosen)


def result_set(
    description: Sequence[tuple[Any, ...]], rows: Sequence[Sequence[object]], max_rows: int
) -> dict[str, Any]:
    """One result set; `rows` may hold one more than `max_rows`, which tells that it is cut."""
    names = column_names([column[0] for column in description])
    kept = rows[:max_rows]
    result: dict[str, Any] = {
        "columns": [
            {"name": name, "type": _TYPE_WORDS.get(column[1], "text")}
            for name, column in zip(names, description, strict=True)
        ],
        "rows": [dict(zip(names, map(to_json, row), strict=True)) for row in kept],
        "row_count": len(kept),
        "truncated": len(rows) > max_rows,
    }
    if result["truncated"]:
        result["message"] = f"only the first {max_rows} rows are kept: max_rows keeps more"
    return result


@dataclass(slots=True)
class Results:
    """Collects what the statements of one step return, bounded in sets and notices."""

    rows_affected: int = 0
    set_count: int = 0
    sets: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=_SETS_KEPT))
    notices: list[str] = field(default_factory=list)

    def add_set(self, result: dict[str, Any]) -> None:
        """Keeps a result set; the oldest goes when there are more than ten."""
        self.set_count += 1
        self.sets.append(result)

    def add_count(self, count: int) -> None:
        """Adds the rows that a statement changed; drivers say -1 when they do not know."""
        self.rows_affected += max(count, 0)

    def add_notices(self, notices: Sequence[str]) -> None:
        """Keeps what the database said besides (PRINT, NOTICE); the first hundred."""
        self.notices += notices[: _NOTICES_KEPT - len(self.notices)]

    def output(self) -> dict[str, Any]:
        """The last result set, and besides it what else there was."""
        empty = {"columns": [], "rows": [], "row_count": 0, "truncated": False}
        *earlier, last = self.sets or [empty]
        output = {**last, "rows_affected": self.rows_affected}
        if earlier:
            output["earlier_result_sets"] = earlier
        if self.notices:
            output["messages"] = self.notices
        return output

    def values(self) -> dict[str, Any]:
        """The columns of the last result set's first row: what a step can publish."""
        rows = self.sets[-1]["rows"] if self.sets else []
        return dict(rows[0]) if rows else {}
