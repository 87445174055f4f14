"""The list of jobs: pages, filters, and continuations that someone tampered with."""

import base64
import json
from typing import Any

import pytest

from tests.app.exchange import JOBS, check_fault, check_success, new_id, note_job
from tests.app.live_app import LiveApp


def _names(live: LiveApp, query: str) -> set[str]:
    return {job["id"] for job in check_success(live.call("GET", f"{JOBS}?{query}"))["jobs"]}


def _continuation(place: Any) -> str:  # noqa: ANN401
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def test_pages_follow_each_other_until_every_job_was_shown_once(live: LiveApp) -> None:
    mark = new_id()
    made = {live.call("POST", JOBS, note_job(name=f"{mark} {n}")).json()["job_id"] for n in "abcde"}
    link, seen, pages = f"{JOBS}?limit=2&name={mark.upper()}", [], 0
    while link:
        page = check_success(live.call("GET", link))
        assert page["count"] == len(page["jobs"]) <= 2
        assert page["total_count"] >= 5
        seen += [job["id"] for job in page["jobs"]]
        link, pages = page.get("next_link", ""), pages + 1
    assert sorted(seen) == sorted(made)
    assert pages >= 3


def test_filters_narrow_the_list(live: LiveApp) -> None:
    mark, sql = new_id(), {"type": "sql", "connection_name": "local", "query": "select 1"}
    bodies = {
        "tokyo": note_job(timezone="Asia/Tokyo"),
        "paused": note_job(enabled=False),
        "sql": note_job(steps=[sql]),
    }
    ids = {
        name: live.call("POST", JOBS, {**body, "name": f"{mark} {name}"}).json()["job_id"]
        for name, body in bodies.items()
    }
    mine = f"name={mark}"
    assert _names(live, mine) == set(ids.values())
    assert _names(live, f"{mine}&timezone=asia/tokyo") == {ids["tokyo"]}
    assert _names(live, f"{mine}&enabled_only=true") == {ids["tokyo"], ids["sql"]}
    assert _names(live, f"{mine}&enabled_only=false") == set(ids.values())
    assert _names(live, f"{mine}&type=sql") == {ids["sql"]}
    assert _names(live, f"{mine}&type=sql&timezone=Asia/Tokyo") == set()


def test_a_listed_job_shows_what_a_list_needs(live: LiveApp) -> None:
    schedule = {"type": "interval", "expression": "1h"}
    created = live.call("POST", JOBS, note_job(name=new_id(), schedule=schedule)).json()["job"]
    (listed,) = check_success(live.call("GET", f"{JOBS}?name={created['name']}"))["jobs"]
    assert listed == {
        **{name: created[name] for name in ("id", "name", "timezone", "enabled")},
        "created_at": created["created_at"],
        "updated_at": created["updated_at"],
        "step_types": ["note"],
        "schedule": schedule,
    }


@pytest.mark.parametrize(
    "limit", ["abc", "0", "-1", "201", "1.5", "0000000201", "000000019999999", "%EF%BC%91", "1,2"]
)
def test_a_limit_that_is_no_number_from_1_to_200_is_refused(live: LiveApp, limit: str) -> None:
    message = check_fault(live.call("GET", f"{JOBS}?limit={limit}"), "", "invalid_limit")
    assert message == "limit must be a whole number from 1 to 200"


@pytest.mark.parametrize(
    "continuation",
    [
        "abc",
        "%C3%A9",
        "e30",
        base64.urlsafe_b64encode(b"[" * 6000).decode(),
        _continuation(["0", "x"]),
        _continuation({"shard": "zz", "id": "x"}),
        _continuation({"shard": "0", "id": 5}),
        _continuation({"shard": "0", "id": "\ud800"}),
        _continuation({"shard": "0", "id": "x' or PartitionKey ge '"}),
        _continuation({"shard": "0", "id": "\0"}),
        _continuation({"shard": "0", "id": "x", "more": "y"}),
    ],
)
def test_a_continuation_that_no_list_gave_out_is_refused(live: LiveApp, continuation: str) -> None:
    reply = live.call("GET", f"{JOBS}?continuation={continuation}")
    check_fault(reply, "", "invalid_continuation")


def test_an_unknown_parameter_zone_or_flag_is_refused_with_advice(live: LiveApp) -> None:
    message = check_fault(live.call("GET", f"{JOBS}?timezon=UTC"), "", "unknown_parameter")
    assert "did you mean 'timezone'?" in message
    reply = live.call("GET", f"{JOBS}?timezone=Tokyo")
    assert "Asia/Tokyo" in check_fault(reply, "", "unknown_timezone")
    check_fault(live.call("GET", f"{JOBS}?enabled_only=maybe"), "", "invalid_flag")


@pytest.mark.parametrize("name", ["'", "' or 1 eq 1 or '", "%00", "%F0%9F%95%90", "%25", ".."])
def test_a_hostile_filter_finds_nothing(live: LiveApp, name: str) -> None:
    assert _names(live, f"name={name}") == _names(live, f"type={name}") == set()
