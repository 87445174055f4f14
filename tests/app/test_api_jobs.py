"""Stored jobs over HTTP: create, read, replace, patch, delete; versions and races."""

import asyncio
from datetime import datetime, timedelta
from itertools import pairwise

import pytest

from tests.app.exchange import (
    JOBS,
    NOTE,
    check_fault,
    check_problem,
    check_success,
    new_id,
    note_job,
)
from tests.app.live_app import ADMIN, LiveApp

HOURLY = {"type": "cron", "expression": "0 * * * *"}
YAML = """
id: {id}
name: Noting in YAML
timezone: America/New_York
schedule: {{type: interval, expression: 1d}}
steps:
  - type: note
    text: "2027-01-01"
"""


def test_a_created_job_is_answered_with_its_runs_and_read_back_the_same(live: LiveApp) -> None:
    job_id = new_id()
    body = note_job(id=job_id, schedule=HOURLY, timezone="america/new_york", tags=["night"])
    reply = live.call("POST", JOBS, body)
    created = check_success(reply, 201)
    assert reply.headers["Location"] == f"{JOBS}/{job_id}"
    assert created["job_id"] == created["job"]["id"] == job_id
    assert created["job"]["timezone"] == "America/New_York"
    assert created["job"]["steps"][0].items() >= {**NOTE, "id": "step_1", "timeout": 300}.items()
    runs = [datetime.fromisoformat(run["utc"]) for run in created["next_runs"]]
    assert [later - run for run, later in pairwise(runs)] == [timedelta(hours=1)] * 4
    read = live.call("GET", f"{JOBS}/{job_id}")
    assert check_success(read)["job"] == created["job"]
    assert read.headers["ETag"] == reply.headers["ETag"]


def test_a_job_without_an_id_gets_one(live: LiveApp) -> None:
    created = check_success(live.call("POST", JOBS, {"job": note_job()}), 201)
    assert created["next_runs"] == []
    check_success(live.call("GET", f"{JOBS}/{created['job_id']}"))


def test_yaml_is_read_like_json(live: LiveApp) -> None:
    text = YAML.format(id=(job_id := new_id()))
    created = check_success(live.call("POST", JOBS, text, content_type="application/yaml"), 201)
    assert created["job"]["steps"][0]["text"] == "2027-01-01"
    patched = live.call("PATCH", f"{JOBS}/{job_id}", "name: Other", content_type="text/yaml")
    assert check_success(patched)["job"]["name"] == "Other"


def test_a_taken_id_is_refused_and_leaves_nothing_behind(live: LiveApp) -> None:
    job_id = new_id()
    first = check_success(live.call("POST", JOBS, note_job(id=job_id)), 201)
    with live.writes() as writes:
        reply = live.call("POST", JOBS, note_job(id=job_id, name="Second", timezone="Asia/Tokyo"))
    check_problem(reply, 409, "job_exists")
    assert writes == []
    assert check_success(live.call("GET", f"{JOBS}/{job_id}"))["job"] == first["job"]


def test_put_creates_an_unknown_job_and_replaces_a_known_one(live: LiveApp) -> None:
    path = f"{JOBS}/{new_id()}"
    created = live.call("PUT", path, note_job(description="old"))
    assert check_success(created, 201)["message"] == "job created"
    assert created.headers["Location"] == path
    replaced = live.call("PUT", path, note_job(name="New", schedule=HOURLY))
    body = check_success(replaced)
    assert (body["job"]["name"], body["job"]["description"]) == ("New", "")
    assert len(body["next_runs"]) == 5
    assert replaced.headers["ETag"] != created.headers["ETag"]
    assert body["job"]["created_at"] == created.json()["job"]["created_at"]


def test_patch_merges_removes_and_replaces(live: LiveApp) -> None:
    path = f"{JOBS}/{new_id()}"
    live.call("PUT", path, note_job(schedule=HOURLY, metadata={"a": 1, "b": 2}, priority=3))
    patch = {"metadata": {"a": None, "c": 3}, "priority": None, "schedule": {"jitter_seconds": 5}}
    job = check_success(live.call("PATCH", path, patch))["job"]
    assert (job["metadata"], job["priority"]) == ({"b": 2, "c": 3}, 0)
    assert (job["schedule"]["expression"], job["schedule"]["jitter_seconds"]) == ("0 * * * *", 5)
    paused = check_success(live.call("PATCH", path, {"enabled": False}))
    assert (paused["job"]["enabled"], paused["next_runs"]) == (False, [])
    bare = check_success(live.call("PATCH", path, {"schedule": None, "enabled": True}))
    assert ("schedule" in bare["job"], bare["next_runs"]) == (False, [])


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_an_unknown_job_is_not_found(live: LiveApp, method: str) -> None:
    reply = live.call(method, f"{JOBS}/{new_id()}", {"name": "x"} if method == "PATCH" else b"")
    check_problem(reply, 404, "job_not_found")


def test_a_deleted_job_is_gone_and_its_id_is_free_again(live: LiveApp) -> None:
    path = f"{JOBS}/{new_id()}"
    live.call("PUT", path, note_job(schedule=HOURLY))
    check_success(live.call("DELETE", path))
    check_problem(live.call("GET", path), 404, "job_not_found")
    check_success(live.call("PUT", path, note_job()), 201)


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_if_match_decides_by_the_stored_version(live: LiveApp, method: str) -> None:
    path = f"{JOBS}/{new_id()}"
    version = live.call("PUT", path, note_job()).headers["ETag"]
    body = b"" if method == "DELETE" else note_job(name="Changed")
    with live.writes() as writes:
        for other in ('"other"', version.strip('"'), '""'):
            reply = live.call(method, path, body, if_match=other)
            check_problem(reply, 412, "precondition_failed")
    assert writes == []
    check_success(live.call(method, path, body, if_match=f'"other", W/{version}'))


def test_if_match_on_what_is_not_there_creates_nothing(live: LiveApp) -> None:
    path = f"{JOBS}/{new_id()}"
    check_problem(live.call("PUT", path, note_job(), if_match="*"), 412, "precondition_failed")
    check_problem(live.call("GET", path), 404, "job_not_found")


def test_of_changes_at_once_on_one_version_only_one_is_made(live: LiveApp) -> None:
    path = f"{JOBS}/{new_id()}"
    version = live.call("PUT", path, note_job()).headers["ETag"]
    headers = {"X-API-Key": ADMIN, "If-Match": version}

    async def change() -> list[int]:
        names = [{"name": f"Name {number}"} for number in range(4)]
        calls = (live.worker.http("PATCH", path, headers, name) for name in names)
        return [reply.status for reply in await asyncio.gather(*calls)]

    assert sorted(live.run(change())) == [200, 412, 412, 412]


def test_many_jobs_can_be_created_at_once(live: LiveApp) -> None:
    async def create() -> list[int]:
        jobs = [note_job(schedule=HOURLY) for _ in range(24)]
        calls = (live.worker.http("POST", JOBS, {"X-API-Key": ADMIN}, job) for job in jobs)
        return [reply.status for reply in await asyncio.gather(*calls)]

    assert live.run(create()) == [201] * 24


def test_an_enabled_job_whose_time_has_passed_is_refused_and_a_paused_one_kept(
    live: LiveApp,
) -> None:
    past = {"type": "once", "expression": "2020-01-01T00:00:00"}
    reply = live.call("POST", JOBS, note_job(schedule=past))
    assert "has passed" in check_fault(reply, "/schedule/expression", "invalid_once")
    check_success(live.call("POST", JOBS, note_job(schedule=past, enabled=False)), 201)


def test_a_kept_but_unused_field_is_warned_of(live: LiveApp) -> None:
    job = note_job(on_failure={"webhook": "https://example.org/hook"})
    created = check_success(live.call("POST", JOBS, job), 201)
    assert "on_failure" in created["warnings"][0]["message"]


def test_what_was_read_can_be_put_back_as_it_is(live: LiveApp) -> None:
    job_id = new_id()
    check_success(live.call("POST", JOBS, note_job(id=job_id, schedule=HOURLY)), 201)
    read = check_success(live.call("GET", f"{JOBS}/{job_id}"), 200)["job"]
    put = check_success(live.call("PUT", f"{JOBS}/{job_id}", read), 200)["job"]
    assert put.keys() == read.keys()
    assert {**put, "updated_at": ""} == {**read, "updated_at": ""}


@pytest.mark.parametrize(
    "schedule", [HOURLY, {"type": "once", "expression": "2099-01-01T00:00:00Z"}]
)
def test_an_interval_is_patched_to_another_type_without_its_anchor(
    live: LiveApp, schedule: dict[str, str]
) -> None:
    job_id = new_id()
    interval = {"type": "interval", "expression": "1h"}
    check_success(live.call("POST", JOBS, note_job(id=job_id, schedule=interval)), 201)
    patched = live.call("PATCH", f"{JOBS}/{job_id}", {"schedule": schedule})
    shown = check_success(patched, 200)["job"]["schedule"]
    assert shown.items() >= schedule.items()
    assert "anchor" not in shown
    anchored = {"schedule": {"anchor": "2026-01-01T00:00:00Z"}}
    check_fault(
        live.call("PATCH", f"{JOBS}/{job_id}", anchored), "/schedule/anchor", "unexpected_field"
    )
