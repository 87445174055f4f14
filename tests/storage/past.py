"""Executions that ended long ago, and what storage still holds of them."""

from contextlib import suppress
from datetime import timedelta

from azure.core.exceptions import ResourceNotFoundError
from azure.data.tables.aio import TableServiceClient

from tests.storage.scripted import fails, succeeds
from tests.storage.simulation import Simulation

LATER = timedelta(days=100)


async def ended(sim: Simulation, *names: str) -> list[str]:
    """Executions, each of a job of its own: one step leaves a large output, the other fails."""
    found = []
    for name in names:
        sim.script.acts["one"], sim.script.acts["two"] = [succeeds("x" * 40_000)], [fails()]
        found.append(await sim.execute(name, {"id": "one"}, {"id": "two"}))
        await sim.run()
    return found


async def upkeep(sim: Simulation, after: timedelta = timedelta()) -> None:
    """Upkeep by an instance that has just come up."""
    await sim.be_down(seconds=after.total_seconds())
    await sim.restart()
    await sim.app.run_upkeep()


async def left(sim: Simulation) -> dict[str, list[str]]:
    """What storage holds of executions: rows by table, blobs by container."""
    found: dict[str, list[str]] = {}
    account = str(sim.settings.storage_connection_string)
    tables = TableServiceClient.from_connection_string(account)
    async with tables:
        for name in ("Executions", "Days", "Stats"):
            table = tables.get_table_client(f"{sim.settings.name}{name}")
            rows = table.list_entities(select=["PartitionKey", "RowKey"])
            found[name] = []
            with suppress(ResourceNotFoundError):
                found[name] = [f"{row['PartitionKey']} {row['RowKey']}" async for row in rows]
    for name, blobs in (("outputs", sim.storage.outputs), ("definitions", sim.storage.definitions)):
        found[name] = await blobs.names("")
    return {name: keys for name, keys in found.items() if keys}
