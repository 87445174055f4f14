"""A whole scheduler, in simulated time, whose steps are real `sql` steps on a real database."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from scheduler.app import App
from steps.registry import Registry
from tests.sql.servers import PATIENCE_SECONDS
from tests.storage.simulation import AUTHOR, CALLER, Simulation, simulated


class SqlRuns:
    """Runs jobs of one `sql` step. Time stands still but for leases' renewals and timeouts."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self._handling: list[asyncio.Task[bool]] = []
        self.use_sql(sim.app)

    def use_sql(self, app: App) -> None:
        """Gives an instance the step types of the product, in the place of the tests' own."""
        app.registry = Registry.discover()

    async def start(self, query: str, *, job: dict[str, Any] | None = None, **step: Any) -> str:  # noqa: ANN401
        """Asks for a run, and lets a worker begin with it; returns the execution's id."""
        steps = {"id": "one", "type": "sql", "query": query, **step}
        execution_id = await self.sim.execute("job", steps, **(job or {}))
        self.work(self.sim.app)
        return execution_id

    def work(self, app: App) -> None:
        """Lets an instance handle what is in the queues, beside all that goes on."""
        self._handling.append(asyncio.create_task(self.sim.host.deliver(app)))

    async def cancel(self, execution_id: str) -> None:
        """Cancels it through the API."""
        await self.sim.app.executions.cancel(CALLER, AUTHOR, execution_id, {}, 0)

    async def worked(self) -> float:
        """Waits until every worker has come to its end; how many seconds that took."""
        began = time.monotonic()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await asyncio.gather(*self._handling)
        self._handling.clear()
        return time.monotonic() - began

    async def ended(self, execution_id: str) -> dict[str, Any]:
        """Lets time pass until nothing is left to do; the execution as it then is."""
        await self.worked()
        await self.sim.run()
        await self.sim.assert_nothing_left()
        return await self.sim.read(execution_id)

    async def close(self) -> None:
        """Ends what is still waited for."""
        for task in self._handling:
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)


@asynccontextmanager
async def sql_runs(
    azurite: str, name: str, connection_string: str, **settings: object
) -> AsyncIterator[SqlRuns]:
    """A scheduler with this database as its connection `default`."""
    connections = {"default": connection_string}
    async with simulated(azurite, name, connections=connections, **settings) as sim:
        runs = SqlRuns(sim)
        try:
            yield runs
        finally:
            await runs.close()


def outcomes(body: dict[str, Any]) -> list[str]:
    """How the attempts of the one step ended."""
    (step,) = body["steps"]
    return [str(attempt["outcome"]) for attempt in step["attempt_history"]]
