"""What the Jobs table holds: the rows of a shard, and whether they agree with each other."""

from collections.abc import Mapping

from scheduler.storage.tables import Delete, Row
from tests.storage.simulation import Simulation

type Rows = Mapping[str, Row]
"""A shard's rows by their keys."""


async def shard_rows(sim: Simulation, shard: str) -> Rows:
    """All rows of a shard of the Jobs table."""
    return {row.key: row async for row in sim.storage.jobs.query(shard, "!", "~")}


def disagreements(rows: Rows) -> list[str]:
    """What is half written: a row that lacks its counterpart, another revision, a wrong count."""
    jobs = {key.removeprefix("job:"): row for key, row in rows.items() if key.startswith("job:")}
    due = {key: row for key, row in rows.items() if key.startswith("due:")}
    pointers = {key.removeprefix("next:"): row for key, row in rows.items() if key[:5] == "next:"}
    counted = rows["count"].values["count"] if "count" in rows else 0
    found = [] if counted == len(jobs) else [f"count {counted} of {len(jobs)} jobs"]
    for key, row in due.items():
        job_id = str(row.values["job_id"])
        if job_id not in jobs:
            found.append(f"{key} without a job")
        elif row.values["revision"] != jobs[job_id].values["revision"]:
            found.append(f"{key} of another revision than its job")
        if job_id not in pointers or pointers[job_id].values["due_key"] != key:
            found.append(f"{key} without a pointer to it")
    for job_id, row in pointers.items():
        if row.values["due_key"] not in due:
            found.append(f"a pointer of {job_id} to nothing")
    return found


async def clear_shard(sim: Simulation, shard: str) -> None:
    """Removes all rows of a shard, jobs and plans."""
    rows = await shard_rows(sim, shard)
    if rows:
        await sim.storage.jobs.commit(shard, [Delete(key, None) for key in rows])
