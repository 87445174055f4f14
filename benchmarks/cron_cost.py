"""The next runs on a zone's clock, against croniter alone on a clock without zones."""

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from statistics import median
from time import process_time

from croniter import croniter

from benchmarks.bench import Figures
from scheduler.schedule import next_runs

WILDCARD = (
    "* * * * *",
    "*/5 * * * *",
    "0 * * * *",
    "*/15 9-17 * * MON-FRI",
    "30 */2 * * *",
    "*/10 8 1,15 * *",
)
FIXED = (
    "30 2 * * *",
    "0 0 1 * *",
    "15,45 6 * * MON-FRI",
    "0 9 * * SUN",
    "0 12 L * *",
    "59 23 31 12 *",
)
TIMEZONES = (
    "UTC",
    "America/New_York",
    "Europe/London",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
)
KINDS = (("new", 1), ("known", 1), ("known", 100))
"""How many runs, of an expression that is parsed for them, or has been parsed before."""
AFTER = datetime(2026, 11, 23, 2, 0, 10, tzinfo=UTC)
_PASSES = 7


def measure() -> Figures:
    """Processor time of both in microseconds, and the ratio, for one run and for a hundred."""
    cases = [
        _case(expression, timezone, kind, count)
        for expression in (*WILDCARD, *FIXED)
        for timezone in TIMEZONES
        for kind, count in KINDS
    ]
    summary = [
        _summary(name, kind, count, [one for one in cases if one["expression"] in expressions])
        for name, expressions in (("wildcard", WILDCARD), ("fixed-time", FIXED))
        for kind, count in KINDS
    ]
    return {"summary": summary, "cases": cases}


def _case(expression: str, timezone: str, kind: str, count: int) -> Figures:
    naive = AFTER.replace(tzinfo=None)
    known = croniter(expression, naive)
    # A text not seen before is parsed anew.
    place = TIMEZONES.index(timezone) * _PASSES
    texts = [" " * (place + number) + expression for number in range(1, _PASSES + 1)]

    def alone() -> None:
        runs = croniter(expression, naive) if kind == "new" else known
        runs.set_current(naive, force=True)
        for _ in range(count):
            runs.get_next(datetime)

    def ours(text: str) -> None:
        next_runs(text, timezone, AFTER, count)

    ours(expression)
    alone()
    pairs = [
        (_seconds(partial(ours, text if kind == "new" else expression)), _seconds(alone))
        for text in texts
    ]
    return {
        "expression": expression,
        "timezone": timezone,
        "kind": kind,
        "count": count,
        "microseconds": round(1e6 * median(one for one, _ in pairs), 1),
        "croniter_microseconds": round(1e6 * median(one for _, one in pairs), 1),
        "ratio": round(median(one / other for one, other in pairs), 2),
    }


def _seconds(work: Callable[[], None]) -> float:
    began = process_time()
    work()
    return process_time() - began


def _summary(name: str, kind: str, count: int, cases: list[Figures]) -> Figures:
    mine = [one for one in cases if (one["kind"], one["count"]) == (kind, count)]
    ratios = [one["ratio"] for one in mine]
    figures: Figures = {
        "expressions": name,
        "kind": kind,
        "count": count,
        "median_ratio": round(median(ratios), 2),
        "least_ratio": min(ratios),
        "most_ratio": max(ratios),
        "median_microseconds": round(median(one["microseconds"] for one in mine), 1),
    }
    print(
        f"  {name}, {kind}, {count} runs: {figures['median_ratio']:.2f} times croniter"
        f" ({figures['least_ratio']:.2f} to {figures['most_ratio']:.2f}),"
        f" {figures['median_microseconds']:.0f} µs"
    )
    return figures
