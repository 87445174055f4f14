"""The log: one line for each request, by which its caller, object and outcome are found."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from scheduler.telemetry import LOG_KEYS
from tests.app.exchange import EXECUTE, JOBS, new_id, note_job
from tests.app.live_app import LiveApp
from tools.devhost.wire import Response

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
EXECUTION = "/api/v2/executions"

type LineOf = Callable[[Response], dict[str, Any]]


@pytest.fixture
def line_of(caplog: pytest.LogCaptureFixture) -> LineOf:
    """The one line about the request of a reply: the keys that it has."""
    caplog.set_level(logging.INFO)

    def line(reply: Response) -> dict[str, Any]:
        trace_id = reply.headers["X-Trace-Id"]
        lines = [
            vars(record)
            for record in caplog.records
            if vars(record).get("trace_id") == trace_id and "route" in vars(record)
        ]
        (found,) = lines
        return {name: value for name, value in found.items() if name not in STANDARD}

    return line


def test_a_request_is_one_line_with_its_path_status_and_job(live: LiveApp, line_of: LineOf) -> None:
    job_id = new_id()
    line = line_of(live.call("PUT", f"{JOBS}/{job_id}", note_job()))
    assert line.items() >= {
        ("action", "replace_job"),
        ("method", "PUT"),
        ("route", "/api/v2/jobs/{job_id}"),
        ("path", f"{JOBS}/{job_id}"),
        ("status", 201),
        ("error_code", ""),
        ("principal", "first-admin"),
        ("job_id", job_id),
    }
    assert line["duration_ms"] > 0
    assert line.keys() <= LOG_KEYS


def test_a_request_that_makes_an_object_tells_its_id(live: LiveApp, line_of: LineOf) -> None:
    reply = live.call("POST", EXECUTE, note_job())
    assert line_of(reply).items() >= {
        ("execution_id", reply.json()["execution_id"]),
        ("job_id", reply.json()["job_id"]),
        ("status", 202),
    }


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"{JOBS}/nobody", 404, "job_not_found"),
        ("GET", f"{EXECUTION}/nobody.20260101T000000Z", 404, "execution_not_found"),
        ("POST", JOBS, 400, "malformed_body"),
        ("GET", "/api/v2/nothing", 404, "route_not_found"),
        ("DELETE", JOBS, 405, "method_not_allowed"),
    ],
)
def test_a_request_that_fails_tells_why(
    live: LiveApp, line_of: LineOf, method: str, path: str, status: int, code: str
) -> None:
    line = line_of(live.call(method, path))
    told = (line["method"], line["path"], line["status"], line["error_code"])
    assert told == (method, path, status, code)


@pytest.mark.parametrize("letter", ["%1b%5b31mred", "%00", "%7f", "%0d%0aa", "%e2%80%a8"])
def test_control_characters_of_a_path_do_not_get_into_the_line(
    live: LiveApp, line_of: LineOf, letter: str
) -> None:
    for path in (f"{JOBS}/{letter}/run", f"{EXECUTION}/{letter}"):
        line = line_of(live.call("POST" if path.endswith("run") else "GET", path))
        assert "".join(map(str, line.values())).isprintable()
        assert not {"job_id", "execution_id"} & line.keys()


def test_neither_query_nor_an_endless_path_gets_into_the_line(
    live: LiveApp, line_of: LineOf
) -> None:
    line = line_of(live.call("GET", f"{JOBS}/{'x' * 5_000}?code=hunter2"))
    assert len(str(line)) < 2_000
    assert "hunter2" not in str(line)
    assert line["error_code"] == "not_authenticated"
