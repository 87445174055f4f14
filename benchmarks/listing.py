"""What the first page of each list of executions costs: operations, rows read, and the queries."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from benchmarks.bench import Bench, Figures
from scheduler.app import App
from tests.storage.counting import Tally
from tests.storage.simulation import AUTHOR, CALLER

LIMIT = 50
MOST_OPERATIONS = 15
MOST_ROWS_BESIDE = 20
"""How many more rows than entries shown a page may read."""
ENOUGH = 1_000
"""From so many finished runs on each list has more than a page, and costs the same."""
UNFINISHED = 3
UNFINISHED_LIST = "unfinished"
"""The name of the list that has no more entries than these."""

type Work = Callable[[], Awaitable[object]]
type _Page = Callable[[], Awaitable[tuple[dict[str, Any], str | None]]]


async def cost_of(tally: Tally, work: Work) -> dict[str, int]:
    """Operations, and rows read: those of queries, and one for each row read by its key."""
    before = tally.cost()
    await work()
    cost = tally.cost() - before
    reads = sum(n for name, n in cost.requests.items() if name[0].isupper() and "get" in name)
    return {"operations": cost.operations, "rows": cost.rows + reads}


async def start_unfinished(bench: Bench) -> None:
    """Has some executions stay unfinished: nobody takes their messages."""
    step = {"id": "one", "type": "scripted", "config": {}}
    for number in range(UNFINISHED):
        body = {"id": f"unfinished-{number}", "name": "Unfinished", "timezone": "UTC"}
        await bench.app.executions.execute(CALLER, AUTHOR, {**body, "steps": [step]}, 0)


async def lists(app: App, tally: Tally, job_id: str, day: date) -> Figures:
    """The cost of each list, its queries by shape, and how many entries it shows.

    Raises:
        AssertionError: one costs more than its entries and a few rows explain.
    """
    figures: Figures = {}
    for name, page in _pages(app, job_id, day).items():
        await page()  # the first use of an instance loads what it keeps
        figures[name] = one = await _measured(tally, page)
        beside = one["rows"] - one["entries"]
        if one["operations"] > MOST_OPERATIONS or beside > MOST_ROWS_BESIDE:
            raise AssertionError(f"the list {name} costs too much: {one}")
    return figures


def require_flat(sizes: Sequence[Figures]) -> None:
    """Makes sure that, beside `ENOUGH` finished runs and more, each list costs the same.

    Raises:
        AssertionError: one does not, or its first page is not full.
    """
    first, *others = [size["lists"] for size in sizes if size["finished_runs"] >= ENOUGH]
    for name, cost in first.items():
        expected = UNFINISHED if name == UNFINISHED_LIST else LIMIT
        if cost["entries"] != expected:
            raise AssertionError(f"the list {name} shows {cost['entries']} of {expected}")
        for other in others:
            if other[name] != cost:
                raise AssertionError(f"the list {name} grew from {cost} to {other[name]}")


def line(name: str, cost: Figures) -> str:
    """The cost of one list in words, and its queries."""
    shapes = "".join(f"\n        {count} of {shape}" for shape, count in cost["queries"].items())
    return (
        f"      {name}: {cost['operations']} operations, {cost['rows']} rows"
        f" for {cost['entries']} entries{shapes}"
    )


def _pages(app: App, job_id: str, day: date) -> Mapping[str, _Page]:
    listing = app.execution_list
    limit = {"limit": str(LIMIT)}
    times = {"from": f"{day}T00:00:00Z", "to": f"{day + timedelta(days=1)}T00:00:00Z"}

    def page(**query: str) -> _Page:
        return lambda: listing.page({**query, **limit})

    return {
        "all": page(),
        "failed": page(status="failed"),
        UNFINISHED_LIST: page(status="running,pending"),
        "of_job": page(job_id=job_id),
        "history": lambda: listing.history(limit, job_id),
        "day_in_zone": page(timezone="UTC", **times),
    }


async def _measured(tally: Tally, page: _Page) -> Figures:
    before, shown = tally.shapes.copy(), 0

    async def work() -> None:
        nonlocal shown
        body, _ = await page()
        shown = body["count"]

    cost = await cost_of(tally, work)
    queries = dict(sorted((tally.shapes - before).items()))
    return {**cost, "entries": shown, "queries": queries}
