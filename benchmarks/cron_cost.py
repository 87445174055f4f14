"""The next runs on a zone's clock, against croniter alone on a clock without zones."""

from collections.abc import Callable
from datetime import UTC, datetime
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
COUNTS = (1, 100)
AFTER = datetime(2026, 11, 23, 2, 0, 10, tzinfo=UTC)
MOST_RATIO = 2.0
_PASSES = 7


def measure() -> Figures:
    """Processor time of both in microseconds, and the ratio, for one run and for a hundred."""
    cases = [
        _case(expression, timezone, count)
        for expression in (*WILDCARD, *FIXED)
        for timezone in TIMEZONES
        for count in COUNTS
    ]
    summary = {
        f"{kind}_{count}": _summary(
            [one for one in cases if one["count"] == count and one["expression"] in expressions]
        )
        for kind, expressions in (("wildcard", WILDCARD), ("fixed_time", FIXED))
        for count in COUNTS
    }
    for name, figures in summary.items():
        print(
            f"  {name.replace('_', ' ')} runs: {figures['median_ratio']:.2f} times croniter"
            f" ({figures['least_ratio']:.2f} to {figures['most_ratio']:.2f}),"
            f" {figures['median_microseconds']:.0f} µs"
        )
    return {"summary": summary, "target_ratio": MOST_RATIO, "cases": cases}


def _case(expression: str, timezone: str, count: int) -> Figures:
    naive = AFTER.replace(tzinfo=None)

    def alone() -> None:
        runs = croniter(expression, naive)
        for _ in range(count):
            runs.get_next(datetime)

    def ours() -> None:
        next_runs(expression, timezone, AFTER, count)

    ours()
    alone()
    pairs = [(_seconds(ours), _seconds(alone)) for _ in range(_PASSES)]
    return {
        "expression": expression,
        "timezone": timezone,
        "count": count,
        "microseconds": round(1e6 * median(one for one, _ in pairs), 1),
        "croniter_microseconds": round(1e6 * median(one for _, one in pairs), 1),
        "ratio": round(median(one / other for one, other in pairs), 2),
    }


def _seconds(work: Callable[[], None]) -> float:
    began = process_time()
    work()
    return process_time() - began


def _summary(cases: list[Figures]) -> Figures:
    ratios = [one["ratio"] for one in cases]
    return {
        "median_ratio": round(median(ratios), 2),
        "least_ratio": min(ratios),
        "most_ratio": max(ratios),
        "median_microseconds": round(median(one["microseconds"] for one in cases), 1),
    }
