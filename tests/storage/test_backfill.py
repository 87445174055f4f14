"""Backfill: which of a job's past runs it starts, in which order, and what it leaves out."""

from datetime import timedelta
from typing import Any

import pytest

from scheduler.errors import Conflict, InvalidRequest
from tests.storage.scripted import Hold
from tests.storage.simulation import AUTHOR, CALLER, START, Simulation

EVERY_TEN_MINUTES = {"type": "cron", "expression": "*/10 * * * *"}
NONE_MADE_UP = {**EVERY_TEN_MINUTES, "catch_up": "none"}


async def backfill(sim: Simulation, start: str, end: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401
    body = {"from": f"2026-11-23T{start}:00Z", "to": f"2026-11-23T{end}:00Z", **fields}
    return await sim.app.backfills.backfill(CALLER, AUTHOR, "job", body)


async def missed(sim: Simulation, **schedule: str) -> None:
    """A job whose runs from 02:10 to 02:50 were missed; it is 02:57."""
    await sim.create("job", {"id": "one"}, schedule={**NONE_MADE_UP, **schedule})
    await sim.be_down(minutes=56)
    await sim.run(minutes=1)
    assert sim.script.ran == []


async def finish(sim: Simulation) -> None:
    await sim.drop_job("job")
    await sim.run()
    await sim.assert_nothing_left()


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_missed_runs_run_one_after_another_in_the_order_of_their_instants(
    sim: Simulation, overlap: str
) -> None:
    await missed(sim, overlap=overlap)
    reply = await backfill(sim, "02:10", "02:50")
    assert (reply["count"], reply["left_out"]) == (4, [])
    await sim.run(minutes=2)
    assert [one.execution_id for one in sim.script.ran] == [
        f"job.20261123T02{minute}00Z.b1" for minute in (10, 20, 30, 40)
    ]
    assert sim.script.most_busy == 1
    await finish(sim)


async def test_the_last_instant_of_a_gap_has_only_the_skip_record_and_is_run_too(
    sim: Simulation,
) -> None:
    await missed(sim)
    reply = await backfill(sim, "02:50", "02:57")
    assert [one["execution_id"] for one in reply["executions"]] == ["job.20261123T025000Z.b1"]
    await sim.run(minutes=1)
    body = await sim.read("job.20261123T025000Z.b1")
    assert (body["status"], body["trigger"]) == ("success", "backfill")
    assert body["scheduled_time"] == START.replace(minute=50, second=0)
    await finish(sim)


async def test_what_has_run_is_left_out_unless_it_is_to_be_run_again(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    await sim.run(minutes=15)
    reply = await backfill(sim, "02:10", "02:15")
    assert reply["count"] == 0
    assert [(one["scheduled_time"], one["reason"]) for one in reply["left_out"]] == [
        ("2026-11-23T02:10:00+00:00", "it has run; send rerun: true to run it again")
    ]
    for number in (1, 2):
        reply = await backfill(sim, "02:10", "02:15", rerun=True)
        assert reply["executions"][0]["execution_id"] == f"job.20261123T021000Z.b{number}"
        await sim.run(minutes=1)
    assert len(sim.script.ran) == 3
    await finish(sim)


async def test_what_is_unfinished_is_left_out(sim: Simulation) -> None:
    await missed(sim)
    hold = Hold()
    sim.script.acts["one"] = [hold]
    first = await backfill(sim, "02:10", "02:30")
    await sim.deliver()
    second = await backfill(sim, "02:10", "02:40", rerun=True)
    assert (first["count"], second["count"]) == (2, 1)
    assert [one["reason"] for one in second["left_out"]] == ["it is unfinished"] * 2
    hold.release()
    await sim.run(minutes=1)
    assert len(sim.script.ran) == 3
    await finish(sim)


async def test_what_the_schedule_is_still_to_decide_about_is_left_to_it(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    await sim.be_down(minutes=25)
    reply = await backfill(sim, "02:10", "02:25")
    assert (reply["count"], len(reply["left_out"])) == (0, 2)
    assert "catch_up" in reply["left_out"][0]["reason"]
    await finish(sim)


async def test_more_runs_may_wait_for_each_other_than_the_schedule_would_queue(
    sim: Simulation,
) -> None:
    schedule = {"type": "cron", "expression": "* * * * *", "catch_up": "none"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.be_down(minutes=48)
    await sim.run(minutes=1)
    sim.script.ran.clear()
    reply = await backfill(sim, "02:10", "02:40")
    assert reply["count"] == 30
    await sim.drop_job("job")
    await sim.run()
    backfilled = [one.execution_id for one in sim.script.ran if one.execution_id.endswith(".b1")]
    assert backfilled == sorted(backfilled)
    assert len(backfilled) == 30
    await sim.assert_nothing_left()


async def test_a_span_of_over_a_hundred_runs_is_refused_with_the_end_to_write(
    sim: Simulation,
) -> None:
    schedule = {"type": "interval", "expression": "10s", "catch_up": "none"}
    await sim.create("job", {"id": "one"}, schedule=schedule)
    await sim.be_down(minutes=40)
    await sim.app.tick.run()
    with pytest.raises(InvalidRequest, match="over 100 runs") as refused:
        await backfill(sim, "02:01", "02:30")
    assert refused.value.errors[0].pointer == "/to"
    end = (START.replace(minute=1, second=0) + timedelta(seconds=1000)).isoformat()
    assert end in refused.value.errors[0].message


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/from"),
        ({"from": "2026-11-23T01:00:00Z"}, "/to"),
        ({"from": "2026-11-23T01:00:00Z", "to": "2026-11-23T01:00:00Z"}, "/to"),
        ({"from": "2026-11-23T01:00:00Z", "to": "2026-11-24T01:00:00Z"}, "/to"),
        ({"from": "2026-11-23T01:00:00", "to": "2026-11-23T02:00:00Z"}, "/from"),
        ({"from": "x", "to": "2026-11-23T02:00:00Z"}, "/from"),
        ({"from": "2026-11-23T01:00:00Z", "to": "2026-11-23T02:00:00Z", "forced": 1}, "/forced"),
    ],
)
async def test_a_wrong_span_is_refused_at_its_field(
    sim: Simulation, body: dict[str, Any], pointer: str
) -> None:
    await sim.create("job", {"id": "one"}, schedule=EVERY_TEN_MINUTES)
    with pytest.raises(InvalidRequest) as refused:
        await sim.app.backfills.backfill(CALLER, AUTHOR, "job", body)
    assert pointer in [error.pointer for error in refused.value.errors]


async def test_a_job_without_a_schedule_has_missed_nothing(sim: Simulation) -> None:
    await sim.create("job", {"id": "one"})
    with pytest.raises(Conflict) as refused:
        await backfill(sim, "01:00", "02:00")
    assert refused.value.code == "job_without_schedule"


async def test_a_disabled_job_is_backfilled_only_by_force(sim: Simulation) -> None:
    await missed(sim)
    await sim.app.jobs.pause(CALLER, AUTHOR, "job", {}, None)
    with pytest.raises(Conflict) as refused:
        await backfill(sim, "02:10", "02:20")
    assert refused.value.code == "job_disabled"
    assert (await backfill(sim, "02:10", "02:20", force=True))["count"] == 1
    await finish(sim)


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_of_two_manual_runs_the_reply_tells_which_one_the_overlap_rule_stops(
    sim: Simulation, overlap: str
) -> None:
    await sim.create("job", {"id": "one"}, schedule={**EVERY_TEN_MINUTES, "overlap": overlap})
    first = await sim.app.executions.run(CALLER, AUTHOR, "job", {}, 0)
    second = await sim.app.executions.run(CALLER, AUTHOR, "job", {}, 0)
    expected = "skipped" if overlap == "skip" else "pending"
    assert (first.body["status"], second.body["status"]) == ("pending", expected)
    await sim.run(minutes=1)
    assert len(sim.script.ran) == (1 if overlap == "skip" else 2)
    assert sim.script.ran[0].execution_id == first.execution_id
    await finish(sim)
