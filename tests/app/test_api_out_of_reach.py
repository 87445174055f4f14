"""Storage or a database out of reach: what callers, messages and steps see of it."""

import json
import logging
from http.client import HTTPConnection
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.data.tables import TableServiceClient
from azure.storage.blob import BlobServiceClient

from scheduler.dispatch.messages import Message, MessageKind
from tests.app.conftest import PASSWORD
from tests.app.exchange import EXECUTE, JOBS, KEYS, SCHEDULE, check_problem, check_success, note_job
from tests.app.live_app import ADMIN, LiveApp
from tools.devhost.errors import InvocationFailed
from tools.local_settings import new_secrets
from tools.process import start_dev_host

NOWHERE = (
    "DefaultEndpointsProtocol=http;AccountName=x;AccountKey=eA==;BlobEndpoint=http://127.0.0.1:1/x;"
    "QueueEndpoint=http://127.0.0.1:1/x;TableEndpoint=http://127.0.0.1:1/x;"
)
ONE_RUN = "/api/v2/executions/x.20260101T000000Z"
CALLS: list[tuple[str, str, Any]] = [
    ("GET", JOBS, None),
    ("POST", JOBS, note_job()),
    ("GET", f"{JOBS}/x", None),
    ("PUT", f"{JOBS}/x", note_job()),
    ("PATCH", f"{JOBS}/x", {"name": "y"}),
    ("DELETE", f"{JOBS}/x", None),
    ("POST", EXECUTE, note_job()),
    ("POST", EXECUTE, {"job_id": "x"}),
    ("POST", SCHEDULE, {"job": note_job(), "scheduled_time": "2090-01-01T00:00:00"}),
    ("GET", "/api/v2/execution/status", None),
    ("GET", ONE_RUN, None),
    ("GET", KEYS, None),
    ("POST", KEYS, {"name": "x", "role": "viewer"}),
    ("DELETE", f"{KEYS}/abcdefgh", None),
]
AWAY = {"type": "sql", "connection_name": "away", "query": "select 1"}


@pytest.mark.parametrize(("method", "path", "body"), CALLS)
def test_every_call_that_needs_storage_is_503_and_says_when_to_come_back(
    live: LiveApp,
    method: str,
    path: str,
    body: Any,  # noqa: ANN401
) -> None:
    with live.storage_down():
        reply = live.call(method, path, body or b"")
    check_problem(reply, 503, "storage_unavailable")
    assert reply.headers["Retry-After"] == "5"


def test_a_caller_whose_key_cannot_be_looked_up_is_503_not_401(live: LiveApp) -> None:
    key = live.make_key("admin")
    with live.storage_down():
        check_problem(live.call("GET", JOBS, key=key), 503, "storage_unavailable")
    check_success(live.call("GET", JOBS, key=key))


def test_what_needs_no_storage_answers_all_the_same(live: LiveApp) -> None:
    with live.storage_down():
        check_success(live.call("GET", "/api/v2/steps/types"))
        check_problem(live.call("POST", JOBS, b"{"), 400, "malformed_body")


def test_a_message_that_meets_no_storage_comes_back_and_then_runs(live: LiveApp) -> None:
    execution_id = live.call("POST", EXECUTE, note_job()).json()["execution_id"]
    message = Message(kind=MessageKind.START, execution_id=execution_id).encode()
    with live.storage_down(), pytest.raises(InvocationFailed, match="StorageUnavailable"):
        live.message("tz_utc", message)
    live.message("tz_utc", message, dequeue_count=2)
    assert live.finish(execution_id)["status"] == "success"


@pytest.mark.parametrize("part", ["Executions", "Zones"])
def test_a_part_of_storage_that_fails_lets_the_message_come_back_too(
    live: LiveApp, part: str
) -> None:
    started = live.call("POST", EXECUTE, note_job()).json()
    message = Message(kind=MessageKind.START, execution_id=started["execution_id"]).encode()
    with live.storage_down(part), pytest.raises(InvocationFailed, match="StorageUnavailable"):
        live.message("tz_utc", message)
    live.message("tz_utc", message, dequeue_count=2)
    assert live.finish(started["execution_id"])["status"] == "success"


@pytest.mark.parametrize("timer", ["tick", "upkeep"])
def test_a_timer_that_meets_no_storage_fails_and_the_next_one_works(
    live: LiveApp, timer: str
) -> None:
    with live.storage_down(), pytest.raises(InvocationFailed):
        live.run(live.worker.timer(timer))
    live.run(live.worker.timer(timer))


def test_a_host_without_storage_answers_each_call_with_503_in_a_few_seconds() -> None:
    settings = {
        **new_secrets(),
        "SCHEDULER_ADMIN_KEY": ADMIN,
        "AzureWebJobsStorage": NOWHERE,
        "SCHEDULER_STORAGE_RETRIES": "1",
    }
    with start_dev_host(settings, flags=["--no-timers", "--no-queues"]) as host:
        for method, path, body in (
            ("GET", JOBS, None),
            ("POST", JOBS, note_job(steps=[AWAY])),
            ("POST", EXECUTE, note_job(steps=[AWAY])),
            ("GET", "/api/v2/execution/status", None),
            ("GET", "/api/health/ready", None),
        ):
            began = monotonic()
            connection = HTTPConnection(urlsplit(host.url).netloc, timeout=30)
            connection.request(method, path, json.dumps(body), {"X-API-Key": ADMIN})
            reply = connection.getresponse()
            assert reply.status == 503, reply.read()
            assert reply.headers["Retry-After"] == "5"
            assert json.loads(reply.read())["success"] is False
            assert monotonic() - began < 8, path
            connection.close()


def test_a_database_out_of_reach_fails_the_step_with_the_reason_and_without_the_password(
    live: LiveApp, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        started = live.call("POST", EXECUTE, note_job(steps=[AWAY])).json()
        body = live.finish(started["execution_id"])
    (step,) = body["steps"]
    assert (body["status"], step["error_code"]) == ("failed", "sql_connection_failed")
    assert "SQLSTATE 08001" in step["error_message"]
    assert "refused" in step["error_message"]
    assert step["metadata"] == {"sqlstate": "08001"}
    assert "step started" in caplog.text
    assert not [record for record in caplog.records if record.name.startswith("azure.core")]
    assert PASSWORD not in json.dumps(body)
    assert PASSWORD not in caplog.text + "".join(str(vars(record)) for record in caplog.records)
    assert PASSWORD.encode() not in _stored(live)


def _stored(live: LiveApp) -> bytes:
    """Every row and every blob of this app, as one text."""
    found: list[bytes] = []
    with TableServiceClient.from_connection_string(live.connection) as tables:
        for table in tables.list_tables():
            if table.name.startswith(live.name):
                rows = tables.get_table_client(table.name).list_entities()
                found += [repr(dict(row)).encode() for row in rows]
    with BlobServiceClient.from_connection_string(live.connection) as blobs:
        for box in blobs.list_containers(name_starts_with=live.name):
            container = blobs.get_container_client(box.name)
            names = [blob.name for blob in container.list_blobs()]
            found += [container.download_blob(name).readall() for name in names]
    assert found
    return b"\n".join(found)
