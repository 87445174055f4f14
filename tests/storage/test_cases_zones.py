"""A full zone whose worker dies, and a shard of a hundred jobs of which one changes meanwhile."""

from datetime import timedelta
from itertools import count, islice

import pytest

from scheduler.dispatch.ids import scheduled_id, shard_of
from tests.storage.scripted import Hold
from tests.storage.simulation import AUTHOR, CALLER, Simulated, Simulation
from tests.storage.stored import disagreements, shard_rows

SLOTS, RUNS = 5, 20
RECOVERY = timedelta(seconds=90 + 60 + 30)
"""Lease and clock skew, then upkeep within a minute, then the runs that wait."""
AT = {"type": "cron", "expression": "5 2 * * *"}


async def test_a_worker_that_dies_with_all_slots_gives_them_back_and_no_other_zone_waits(
    new_simulation: Simulated,
) -> None:
    sim = await new_simulation(max_concurrent_per_timezone=SLOTS)
    sim.script.acts["one"] = [Hold() for _ in range(SLOTS)]
    ids = [await sim.execute(f"job{number}", {"id": "one"}) for number in range(RUNS)]
    while await sim.deliver():
        pass
    assert len(await sim.slots()) == sim.script.busy == SLOTS
    died = sim.clock.now()
    await sim.kill()
    other = await sim.execute("other", {"id": "elsewhere"}, timezone="Asia/Tokyo")
    await sim.deliver()
    assert (await sim.read(other))["status"] == "success"
    assert sim.clock.now() == died
    await sim.run()
    assert sim.script.most_busy <= SLOTS
    for execution_id in ids:
        body = await sim.read(execution_id)
        assert body["status"] == "success"
        assert body["end_time"] - died <= RECOVERY
    assert len(sim.script.ran) == RUNS + SLOTS + 1
    await sim.assert_nothing_left()


@pytest.mark.parametrize("change", ["paused", "rescheduled", "deleted"])
async def test_of_a_full_shard_the_row_that_changes_meanwhile_is_handled_alone(
    sim: Simulation, change: str
) -> None:
    named = (f"job-{number}" for number in count())
    jobs = list(islice((one for one in named if shard_of(one) == "0"), 40))
    for job_id in jobs:
        await sim.create(job_id, {"id": "one"}, schedule=AT)
    await sim.be_down(seconds=200)
    odd, other = jobs[10], sim.new_app()
    due = sim.clock.now().replace(minute=5, second=0)

    async def meddle() -> None:
        if change == "paused":
            await other.jobs.pause(CALLER, AUTHOR, odd, {}, None)
        elif change == "deleted":
            await other.jobs.delete(CALLER, AUTHOR, odd, None)
        else:
            later = {"schedule": {**AT, "expression": "6 2 * * *"}}
            await other.jobs.patch(CALLER, AUTHOR, odd, later, None)

    meeting = sim.wire.between(1, lambda kind: kind == "Jobs batch", meddle)
    await sim.app.run_tick()
    assert meeting.hit
    rows = await shard_rows(sim, "0")
    assert disagreements(rows) == []
    due_rows = [row.values for key, row in rows.items() if key.startswith("due:")]
    nominals = {str(values["job_id"]): values["nominal"] for values in due_rows}
    tomorrow = due + timedelta(days=1)
    assert {nominals[one] for one in jobs if one != odd} == {tomorrow}
    await sim.run(due + timedelta(minutes=4))
    ran = {one.execution_id for one in sim.script.ran}
    assert {scheduled_id(one, due) for one in jobs if one != odd} <= ran
    assert len(sim.script.ran) == len(ran)
    late = [one.at - due for one in sim.script.ran if not one.execution_id.startswith(f"{odd}.")]
    assert max(late) < timedelta(seconds=2)
    mine = [one.at for one in sim.script.ran if one.execution_id.startswith(f"{odd}.")]
    assert mine == ([due + timedelta(minutes=1)] if change == "rescheduled" else [])
