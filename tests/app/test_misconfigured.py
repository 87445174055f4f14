"""A wrong setting: the app is served all the same, and everything says which setting it is."""

import json
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from azure.storage.queue import QueueClient

from tests.app.exchange import JOBS
from tests.app.live_app import ADMIN
from tools.local_settings import new_secrets
from tools.process import DevHost, start_dev_host

VALUE = "four-score-and-seven"
SETTING = "SCHEDULER_MAX_CONCURRENT_PER_TIMEZONE"


@pytest.fixture
def host(azurite: str, scheduler_name: str) -> Iterator[DevHost]:
    settings = {
        **new_secrets(),
        "SCHEDULER_ADMIN_KEY": ADMIN,
        "AzureWebJobsStorage": azurite,
        "SCHEDULER_NAME": scheduler_name,
        SETTING: VALUE,
    }
    with start_dev_host(settings, flags=["--no-timers"]) as host:
        yield host


def _call(host: DevHost, method: str, path: str) -> tuple[int, dict[str, Any]]:
    connection = HTTPConnection(urlsplit(host.url).netloc, timeout=30)
    connection.request(method, path, headers={"X-API-Key": ADMIN})
    reply = connection.getresponse()
    body = reply.read().decode()
    connection.close()
    assert VALUE not in body
    return reply.status, json.loads(body)


def test_health_answers_and_every_other_call_names_the_setting(host: DevHost) -> None:
    status, body = _call(host, "GET", "/api/health/live")
    assert (status, body["success"], body["status"]) == (200, True, "live")
    status, body = _call(host, "GET", "/api/health/ready")
    assert (status, body["success"], body["status"]) == (503, False, "not_ready")
    (check,) = body["checks"]
    assert (check["name"], check["status"]) == ("configuration", "failed")
    assert SETTING in check["detail"]
    assert "docs/settings.md" in check["detail"]
    for method, path in (("GET", JOBS), ("POST", JOBS), ("GET", "/api/nothing")):
        status, body = _call(host, method, path)
        assert (status, body["code"]) == (503, "misconfigured")
        assert SETTING in body["detail"]


def test_a_message_fails_and_comes_back(host: DevHost, azurite: str, scheduler_name: str) -> None:
    with QueueClient.from_connection_string(azurite, f"{scheduler_name}-tz-utc") as queue:
        queue.create_queue()
        queue.send_message("eA==")
        host.wait_for(f"(?s)tz_utc.*{SETTING}")
        assert queue.get_queue_properties().approximate_message_count == 1
    assert not [line for line in host.lines if VALUE in line]
