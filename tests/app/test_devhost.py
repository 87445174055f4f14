"""The dev host as a process of its own: a small app, the real worker library, a real Azurite."""

import json
import os
import re
import select
import socket
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

import pytest
from azure.storage.queue import QueueClient, TextBase64EncodePolicy

from tools.process import ROOT, ChildProcess, DevHost, ProcessFailed, start_dev_host

TINY_APP = Path(__file__).parent / "tiny_app"
DELETED_SECONDS = 20


@pytest.fixture
def environment(azurite: str, scheduler_name: str) -> dict[str, str]:
    """Settings under which the small app loads and its timer stays quiet."""
    return {
        "AzureWebJobsStorage": azurite,
        "SCHEDULER_NAME": scheduler_name,
        "TIMER": "0 0 0 1 1 *",
        "DEVHOST_MESSAGE_LEASE_SECONDS": "1",
    }


@pytest.fixture
def host(environment: dict[str, str]) -> Iterator[DevHost]:
    """A host that serves the small app."""
    with start_dev_host(environment, app_dir=TINY_APP) as running:
        yield running


@pytest.fixture
def queue(azurite: str, scheduler_name: str) -> Iterator[QueueClient]:
    """The queue of the function `work`, created."""
    with _queue(azurite, f"{scheduler_name}-work") as client:
        client.create_queue()
        yield client


@pytest.fixture
def poison(azurite: str, scheduler_name: str) -> Iterator[QueueClient]:
    """The poison queue of the function `work`, which nobody has created."""
    with _queue(azurite, f"{scheduler_name}-work-poison") as client:
        yield client


def _queue(connection: str, name: str) -> QueueClient:
    policy = TextBase64EncodePolicy()
    return QueueClient.from_connection_string(connection, name, message_encode_policy=policy)


def _call(
    host: DevHost, method: str, path: str, body: str = "", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], str]:
    connection = HTTPConnection(urlsplit(host.url).netloc, timeout=30)
    try:
        connection.request(method, path, body.encode() or None, headers or {})
        reply = connection.getresponse()
        return reply.status, dict(reply.getheaders()), reply.read().decode()
    finally:
        connection.close()


def _wait_until_empty(queue: QueueClient) -> None:
    """The host deletes a message after the function's last line."""
    deadline = monotonic() + DELETED_SECONDS
    while queue.get_queue_properties().approximate_message_count:
        assert monotonic() < deadline, "a message that was handled is still there"
        sleep(0.05)


def _lines(host: ChildProcess, pattern: str) -> list[str]:
    return [line for line in host.lines if re.search(pattern, line)]


def test_a_request_reaches_its_function_with_route_query_headers_and_body(host: DevHost) -> None:
    path = "/API/Echo/Bob/2026/a%20b?x=1&x=2&empty="
    status, headers, body = _call(host, "POST", path, "hällo", {"X-Test": "t"})
    seen = json.loads(body)
    assert (status, headers["X-Reply"]) == (201, "yes")
    assert headers["Set-Cookie"] == "a=b; Path=/; HttpOnly; SameSite=Lax"
    assert seen["route"] == {"name": "Bob", "rest": "2026/a b"}
    assert seen["query"] == {"x": "1,2"}
    assert (seen["method"], seen["body"], seen["header"]) == ("POST", "hällo", "t")
    assert (seen["url"], seen["client"]) == (f"{host.url}{path}", "127.0.0.1")
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", seen["traceparent"])


def test_a_compressed_body_arrives_as_it_was_sent(host: DevHost) -> None:
    headers = {"Content-Encoding": "gzip"}
    status, _, body = _call(host, "POST", "/api/echo/bob/x", "not unpacked", headers)
    assert (status, json.loads(body)["body"]) == (201, "not unpacked")


def test_routing_answers_as_the_host_does(host: DevHost) -> None:
    assert _call(host, "GET", "/api/echo/fixed/x")[::2] == (200, "fixed")
    assert _call(host, "GET", "/api/echo/b0b/x")[0] == 404
    assert _call(host, "GET", "/api/nothing")[0] == 404
    assert _call(host, "DELETE", "/api/echo/bob/x")[0] == 404
    assert _call(host, "GET", "/api/threads")[::2] == (200, "True")


def test_a_function_that_raises_is_an_empty_500_and_a_log_line(host: DevHost) -> None:
    assert _call(host, "GET", "/api/raise")[::2] == (500, "")
    host.wait_for("fail: ValueError: not today")


def test_a_message_that_keeps_failing_goes_to_the_poison_queue(
    host: DevHost, queue: QueueClient, poison: QueueClient
) -> None:
    queue.send_message("fail")
    host.wait_for("moved to its poison queue")
    counts = [line.split("count=")[1].split()[0] for line in _lines(host, "work begins")]
    assert counts == ["1", "2", "3"]
    assert [message.content for message in poison.receive_messages()] == ["ZmFpbA=="]
    _wait_until_empty(queue)


def test_a_message_that_is_not_base64_goes_to_the_poison_queue_unread(
    host: DevHost, queue: QueueClient, azurite: str, poison: QueueClient
) -> None:
    with QueueClient.from_connection_string(azurite, queue.queue_name) as plain:
        plain.send_message("no base64!")
    host.wait_for("moved to its poison queue")
    assert [message.content for message in poison.receive_messages()] == ["no base64!"]
    assert not _lines(host, "work begins")


def test_a_running_message_is_renewed_and_stays_hidden_from_a_second_host(
    host: DevHost, queue: QueueClient, environment: dict[str, str]
) -> None:
    queue.send_message("sleep 4")
    host.wait_for("work begins")
    with start_dev_host(environment, app_dir=TINY_APP) as second:
        host.wait_for('work ends text="sleep 4" count=1')
        assert not _lines(second, "work begins")
    _wait_until_empty(queue)


def test_the_message_of_a_killed_host_comes_back_to_another(
    host: DevHost, queue: QueueClient, environment: dict[str, str]
) -> None:
    queue.send_message("hang once")
    host.wait_for('work begins text="hang once" count=1')
    host.kill()
    with start_dev_host(environment, app_dir=TINY_APP) as second:
        second.wait_for('work ends text="hang once" count=2')


def test_up_to_batch_size_and_threshold_messages_run_at_once(
    host: DevHost, queue: QueueClient
) -> None:
    for _ in range(12):
        queue.send_message("sleep 0.3")
    sent = queue.send_message("last")
    queue.update_message(sent, visibility_timeout=2)
    host.wait_for("work ends text=last")
    running = most = 0
    for line in _lines(host, "work (begins|ends)"):
        running += 1 if "begins" in line else -1
        most = max(most, running)
    assert len(_lines(host, 'work ends text="sleep 0.3" count=1')) == 12
    assert 4 <= most <= 6


def test_a_queue_that_is_made_later_is_read_and_none_is_made_by_the_host(
    host: DevHost, azurite: str, scheduler_name: str
) -> None:
    _call(host, "GET", "/api/threads")
    with _queue(azurite, f"{scheduler_name}-work") as client:
        client.create_queue()
        client.send_message("hello")
    host.wait_for("work ends text=hello")


def test_a_timer_runs_when_due_and_never_beside_itself(environment: dict[str, str]) -> None:
    with start_dev_host({**environment, "TIMER": "* * * * * *"}, app_dir=TINY_APP) as host:
        host.wait_for("timer ends", count=2)
        lines = _lines(host, "timer (begins|ends)")[:4]
    assert ["begins" in line for line in lines] == [True, False, True, False]
    instants = [datetime.fromisoformat(line.split()[0]) for line in lines[::2]]
    assert instants[1] - instants[0] >= timedelta(seconds=1.2)
    assert all(instant.microsecond < 500_000 for instant in instants)


def test_flags_leave_out_http_timers_and_queues(
    environment: dict[str, str], queue: QueueClient
) -> None:
    queue.send_message("hello")
    settings = {**environment, "TIMER": "* * * * * *"}
    flags = ["--no-http", "--no-timers", "--no-queues"]
    with start_dev_host(settings, app_dir=TINY_APP, flags=flags) as host:
        assert host.url == ""
        assert host.stop() == 0
        assert not _lines(host, "begins")
    assert queue.peek_messages()[0].dequeue_count == 0


def test_a_stopped_host_finishes_what_runs_and_exits_with_0(
    host: DevHost, queue: QueueClient
) -> None:
    queue.send_message("sleep 1")
    host.wait_for("work begins")
    connection = HTTPConnection(urlsplit(host.url).netloc, timeout=30)
    connection.request("GET", "/api/slow")
    host.wait_for("slow begins")
    host.terminate()
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (200, b"done")
    connection.close()
    assert host.wait(10) == 0
    host.wait_for("work ends")
    _wait_until_empty(queue)


def test_work_that_outlasts_the_grace_is_abandoned_and_keeps_its_message(
    environment: dict[str, str], queue: QueueClient
) -> None:
    queue.send_message("hang once")
    settings = {**environment, "DEVHOST_STOP_GRACE_SECONDS": "0.2"}
    with start_dev_host(settings, app_dir=TINY_APP) as host:
        host.wait_for("work begins")
        assert host.stop() == 0
        host.wait_for("abandoned")
    assert queue.get_queue_properties().approximate_message_count == 1


def test_a_host_ends_with_the_process_that_started_it(environment: dict[str, str]) -> None:
    starter = (
        "import os, sys; from pathlib import Path; from tools.process import start_dev_host\n"
        "host = start_dev_host({}, app_dir=Path(sys.argv[1])).__enter__()\n"
        "print('pid', host.pid, host.url, flush=True); sys.stdin.read()"
    )
    command: list[str | Path] = [sys.executable, "-c", starter, TINY_APP]
    with ChildProcess(command, name="starter", env={**os.environ, **environment}) as parent:
        found = parent.wait_for(r"pid (\d+) (\S+)")
        parent.kill()
        watch = os.pidfd_open(int(found[1]))
        assert select.select([watch], [], [], 20)[0]
        os.close(watch)


@pytest.mark.parametrize(
    ("source", "settings", "reason"),
    [
        ("import nowhere_to_be_found", {}, "nowhere_to_be_found"),
        ("x = 1", {}, "Could not find top level function app"),
        (None, {}, "there is no function_app.py"),
        ("tiny", {"TIMER": ""}, "the setting TIMER"),
        ("tiny", {"TIMER": "every day"}, "'every day' cannot be read"),
        ("tiny", {"AzureWebJobsStorage": ""}, "the setting AzureWebJobsStorage"),
    ],
)
def test_a_host_that_cannot_serve_exits_with_1_and_the_reason(
    source: str | None,
    settings: dict[str, str],
    reason: str,
    environment: dict[str, str],
    tmp_path: Path,
) -> None:
    app_dir = TINY_APP if source == "tiny" else tmp_path
    if source not in (None, "tiny"):
        (tmp_path / "function_app.py").write_text(str(source), "utf-8")
    with pytest.raises(ProcessFailed, match=reason) as failure:
        start_dev_host({**environment, **settings}, app_dir=app_dir).__enter__()
    assert "exit code 1" in str(failure.value)


def test_a_taken_port_is_said_plainly(environment: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ProcessFailed, match=f"cannot listen on port {port}"):
            start_dev_host(environment, app_dir=TINY_APP, port=port).__enter__()


def test_the_worker_is_called_directly_in_the_own_process(environment: dict[str, str]) -> None:
    calls = Path(__file__).parent / "tiny_app" / "worker_calls.py"
    command: list[str | Path] = [sys.executable, calls]
    env = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    with ChildProcess(command, name="calls", env=env) as child:
        child.wait_for("all calls answered")
