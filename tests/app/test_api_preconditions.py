"""`If-None-Match`: create only, and read only what is new."""

from tests.app.exchange import JOBS, check_problem, check_success, new_id, note_job
from tests.app.live_app import LiveApp


def test_put_with_a_star_creates_and_never_replaces(live: LiveApp) -> None:
    path = f"{JOBS}/{new_id()}"
    created = live.call("PUT", path, note_job(name="First"), if_none_match="*")
    check_success(created, 201)
    with live.writes() as writes:
        reply = live.call("PUT", path, note_job(name="Second"), if_none_match="*")
        check_problem(reply, 412, "precondition_failed")
    assert writes == []
    read = live.call("GET", path)
    assert read.json()["job"]["name"] == "First"
    assert read.headers["ETag"] == created.headers["ETag"]


def test_put_is_stopped_by_the_stored_version_alone(live: LiveApp) -> None:
    path = f"{JOBS}/{new_id()}"
    etag = live.call("PUT", path, note_job()).headers["ETag"]
    reply = live.call("PUT", path, note_job(name="Other"), if_none_match=etag)
    check_problem(reply, 412, "precondition_failed")
    check_success(live.call("PUT", path, note_job(name="Other"), if_none_match='"x"'))


def test_a_reader_who_has_the_version_gets_an_empty_304(live: LiveApp) -> None:
    path = f"{JOBS}/{new_id()}"
    etag = live.call("PUT", path, note_job()).headers["ETag"]
    reply = live.call("GET", path, if_none_match=f'"x", {etag}')
    assert (reply.status, reply.body, reply.headers["ETag"]) == (304, b"", etag)
    changed = live.call("PATCH", path, {"name": "Other"}).headers["ETag"]
    reply = live.call("GET", path, if_none_match=etag)
    check_success(reply)
    assert reply.headers["ETag"] == changed
    gone = live.call("GET", f"{JOBS}/{new_id()}", if_none_match=etag)
    check_problem(gone, 404, "job_not_found")
