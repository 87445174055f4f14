"""Lists of executions: filters, pages, and what a page costs, whatever the history."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from scheduler.api.paging import read_continuation, write_continuation
from scheduler.errors import InvalidRequest, NotFound
from scheduler.execution.rules.states import RunState
from tests.storage.scripted import Hold, fails
from tests.storage.simulation import AUTHOR, CALLER, Simulation

PLACE = frozenset({"part", "group", "token", "for"})


async def listed(sim: Simulation, job_id: str | None = None, **query: str) -> list[dict[str, Any]]:
    """All entries of a list, page by page."""
    query = {name.rstrip("_"): value for name, value in query.items()}
    found: list[dict[str, Any]] = []
    following: str | None = None
    while True:
        place = {"continuation": following} if following is not None else {}
        lists, asked = sim.app.execution_list, {**query, **place}
        page = lists.page(asked) if job_id is None else lists.history(asked, job_id)
        body, following = await page
        assert len(body["executions"]) == body["count"] <= int(query.get("limit", "50"))
        found += body["executions"]
        if following is None:
            return found


def ids(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["execution_id"] for entry in entries]


async def ended(sim: Simulation, *names: str, **fields: Any) -> list[str]:  # noqa: ANN401
    """Executions that end one after the other, a minute apart; those named `bad…` fail."""
    found = []
    for name in names:
        if name.startswith("bad"):
            sim.script.acts["one"] = [fails()]
        found.append(await sim.execute(name, {"id": "one"}, **fields))
        await sim.deliver()
        sim.clock.advance(60)
    await sim.run()
    return found


async def test_those_that_ended_come_last_first_over_the_days(sim: Simulation) -> None:
    first = await ended(sim, "a", "bad1", "b")
    sim.clock.advance(3 * 24 * 3_600)
    later = await ended(sim, "c", "bad2")
    entries = await listed(sim)
    assert ids(entries) == [*reversed(later), *reversed(first)]
    bad = [entry["status"] == "failed" for entry in entries]
    assert bad == [True, False, False, True, False]
    entry = entries[-1]
    assert entry == {
        "execution_id": first[0],
        "job_id": "a",
        "job_name": "a",
        "status": "success",
        "timezone": "UTC",
        "trigger": "manual",
        "retry_of": None,
        "scheduled_time": entry["scheduled_time"],
        "start_time": entry["start_time"],
        "end_time": entry["end_time"],
        "duration_seconds": 0.0,
        "message": None,
    }


async def test_the_unfinished_come_first_with_the_state_they_are_in(sim: Simulation) -> None:
    done = await ended(sim, "done")
    sim.script.acts["one"], sim.script.acts["two"] = [hold := Hold()], [fails(retry_after=600)]
    running = await sim.execute("runs", {"id": "one"})
    sleeping = await sim.execute("sleeps", {"id": "two", "max_retries": 1})
    await sim.deliver()
    pending = await sim.execute("waits", {"id": "three"}, timezone="Asia/Tokyo")
    entries = await listed(sim)
    assert {entry["execution_id"]: entry["status"] for entry in entries} == {
        running: "running",
        sleeping: "retrying",
        pending: "pending",
        done[0]: "success",
    }
    assert ids(entries)[-1] == done[0]
    assert ids(await listed(sim, status="running")) == [running]
    assert set(ids(await listed(sim, status="pending, retrying"))) == {pending, sleeping}
    assert ids(await listed(sim, status="pending", timezone="Asia/Tokyo")) == [pending]
    assert await listed(sim, status="pending", timezone="UTC") == []
    hold.release()
    await sim.run()


@pytest.mark.parametrize("limit", ["1", "2", "3", "200"])
async def test_every_page_goes_on_where_the_one_before_ended(sim: Simulation, limit: str) -> None:
    done = await ended(sim, "a", "bad1", "b", "bad2", "c")
    sim.script.acts["one"] = [Hold() for _ in range(3)]
    held = [await sim.execute(name, {"id": "one"}) for name in ("x", "y")]
    held.append(await sim.execute("z", {"id": "one"}, timezone="Asia/Tokyo"))
    entries = await listed(sim, limit=limit)
    assert Counter(ids(entries)) == Counter([*done, *held])
    assert ids(entries)[3:] == done[::-1]
    assert ids(await listed(sim, limit=limit, status="failed")) == [done[3], done[1]]
    assert ids(await listed(sim, limit=limit, status="success")) == [done[4], done[2], done[0]]


async def test_a_jobs_history_has_all_its_executions_those_due_last_first(sim: Simulation) -> None:
    await ended(sim, "other")
    sim.script.acts["one"] = [fails(), fails()]
    await sim.create("job", {"id": "one"})
    first = await sim.execute("job")
    await sim.run()
    sim.clock.advance(90)
    second = await sim.app.executions.retry(CALLER, AUTHOR, first, {}, 0)
    await sim.run()
    sim.clock.advance(90)
    third = await sim.execute("job")
    entries = await listed(sim, "job", limit="1")
    assert ids(entries)[0] == third
    assert set(ids(entries)[1:]) == {first, second.execution_id}
    assert {entry["execution_id"]: entry["status"] for entry in entries} == {
        first: "failed",
        second.execution_id: "failed",
        third: "pending",
    }
    assert ids(await listed(sim, "job", status="failed", trigger="retry")) == [second.execution_id]
    assert ids(await listed(sim, job_id_="job", trigger="retry")) == [second.execution_id]
    await sim.run()
    await sim.drop_job("job")
    assert len(await listed(sim, "job")) == 3
    by_id = {entry["execution_id"]: entry["retry_of"] for entry in await listed(sim)}
    assert by_id[second.execution_id] == first


async def test_from_and_to_bound_when_they_ended(sim: Simulation) -> None:
    done = await ended(sim, "a", "b", "c", "d")
    times = {entry["execution_id"]: entry["end_time"] for entry in await listed(sim)}
    start, end = times[done[1]], times[done[3]]
    assert ids(await listed(sim, from_=start.isoformat(), to=end.isoformat())) == [done[2], done[1]]
    tokyo = (start + timedelta(hours=9)).isoformat().replace("+00:00", "+09:00")
    assert ids(await listed(sim, from_=tokyo.replace("+", " "))) == [done[3], done[2], done[1]]
    assert ids(await listed(sim, to=start.isoformat())) == [done[0]]
    assert ids(await listed(sim, "b", from_=start.isoformat())) == [done[1]]
    assert await listed(sim, "b", to="2026-01-01T00:00:00Z") == []


async def test_what_a_page_costs_does_not_grow_with_the_history(sim: Simulation) -> None:
    await ended(sim, "a", "b")

    async def cost(**query: str) -> Counter[str]:
        began = len(sim.wire.log)
        await sim.app.execution_list.page({"limit": "2", **query})
        return Counter(sim.wire.log[began:])

    few = [await cost(), await cost(status="failed"), await cost(job_id="a")]
    for number in range(12):
        await sim.execute("a", {"id": "one"}) if number % 2 else await ended(sim, "bad")
    await sim.run()
    many = [await cost(), await cost(status="failed"), await cost(job_id="a")]
    for before, after in zip(few, many, strict=True):
        assert after.total() <= before.total()


async def test_days_without_any_are_passed_ten_to_a_page(sim: Simulation) -> None:
    done = await ended(sim, "a")
    sim.clock.advance(25 * 24 * 3_600)
    calls = 0
    following: str | None = None
    while True:
        query = {"status": "success"} | ({"continuation": following} if following else {})
        began = len(sim.wire.log)
        body, following = await sim.app.execution_list.page(query)
        calls += 1
        assert Counter(sim.wire.log[began:])["Days query"] <= 20
        if body["count"] or following is None:
            break
    assert (ids(body["executions"]), calls) == (done, 3)


WRONG: tuple[tuple[dict[str, str], str], ...] = (
    ({"status": "runing"}, "invalid_status"),
    ({"status": ""}, "invalid_status"),
    ({"status": "success,done"}, "invalid_status"),
    ({"trigger": "cron"}, "invalid_trigger"),
    ({"job_id": "a b"}, "invalid_job_id"),
    ({"timezone": "Mars/Base"}, "unknown_timezone"),
    ({"from": "yesterday"}, "invalid_time"),
    ({"from": "2026-11-23T00:00:00"}, "missing_offset"),
    ({"to": "9999-12-31T00:00:00Z"}, "invalid_time"),
    ({"from": "2026-11-24T00:00:00Z", "to": "2026-11-23T00:00:00Z"}, "from_after_to"),
    ({"from": "2026-11-23T00:00:00Z", "to": "2026-11-23T00:00:00Z"}, "from_after_to"),
    ({"limit": "0"}, "invalid_limit"),
    ({"limit": "many"}, "invalid_limit"),
    ({"continuation": "nonsense"}, "invalid_continuation"),
)


async def test_a_wrong_filter_is_refused_with_what_to_write(sim: Simulation) -> None:
    for query, code in WRONG:
        with pytest.raises(InvalidRequest) as refused:
            await sim.app.execution_list.page(query)
        assert [error.code for error in refused.value.errors] == [code], query


async def test_a_status_that_is_nearly_right_is_told_so(sim: Simulation) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await sim.app.execution_list.page({"status": "sucess"})
    assert "did you mean 'success'?" in refused.value.message
    for state in RunState:
        await sim.app.execution_list.page({"status": state.value})


CHANGES: tuple[dict[str, str], ...] = (
    {"part": "job"},
    {"part": "other"},
    {"group": "20260230"},
    {"group": "2026112"},
    {"group": "00010101"},
    {"group": "../x"},
    {"token": "one"},
    {"token": "x" * 700 + " y"},
    {"for": "000000000000"},
)


async def test_a_continuation_of_another_list_or_a_changed_one_is_refused(
    sim: Simulation,
) -> None:
    await ended(sim, "a", "b")
    _, following = await sim.app.execution_list.page({"status": "success", "limit": "1"})
    assert following is not None
    place = read_continuation({"continuation": following}, PLACE)
    assert place is not None
    changed = [write_continuation({**place, **change}) for change in CHANGES]
    for query in (
        *({"status": "success", "continuation": one} for one in changed),
        {"status": "failed", "continuation": following},
        {"continuation": following},
    ):
        with pytest.raises(InvalidRequest) as refused:
            await sim.app.execution_list.page(query)
        assert [error.code for error in refused.value.errors] == ["invalid_continuation"], query


async def test_a_job_that_never_was_has_no_history(sim: Simulation) -> None:
    for name in ("typo", "a b", "x" * 80):
        with pytest.raises(NotFound) as missing:
            await sim.app.execution_list.history({}, name)
        assert missing.value.code == "job_not_found"
    await sim.create("job", {"id": "one"})
    assert await listed(sim, "job") == []
