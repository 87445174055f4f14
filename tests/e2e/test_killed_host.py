"""A host that is killed in a running step: its execution ends right on the next host."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tools.local_settings import new_secrets
from tools.process import start_dev_host

LONG_ONCE = """
WITH RECURSIVE counting(x) AS (
    SELECT 1 UNION ALL
    SELECT x + 1 FROM counting WHERE x < CASE ? WHEN 1 THEN 2000000000 ELSE 10 END
)
SELECT max(x) AS reached FROM counting
"""
JOB = {
    "name": "Long",
    "timezone": "Europe/London",
    "steps": [
        {"id": "before", "type": "sql", "query": "INSERT INTO effect VALUES ('before')"},
        {"id": "long", "type": "sql", "query": LONG_ONCE, "parameters": ["{{attempt}}"]},
        {"id": "after", "type": "sql", "query": "INSERT INTO effect VALUES ('after')"},
    ],
}


@pytest.fixture
def environment(azurite: str, scheduler_name: str, tmp_path: Path) -> dict[str, str]:
    """A scheduler with short leases, and a database to leave traces in."""
    database = tmp_path / "effects.db"
    return new_secrets() | {
        "AzureWebJobsStorage": azurite,
        "SCHEDULER_NAME": scheduler_name,
        "SCHEDULER_CONNECTION_DEFAULT": f"Driver=SQLite3;Database={database};Timeout=2000",
        "SCHEDULER_LEASE_SECONDS": "3",
        "SCHEDULER_LEASE_RENEWAL_SECONDS": "1",
        "SCHEDULER_MAX_CLOCK_SKEW_SECONDS": "1",
        "DEVHOST_MESSAGE_LEASE_SECONDS": "6",
    }


def call(
    environment: Mapping[str, str], url: str, body: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Calls the API: POST with a body, else GET."""
    content = None if body is None else json.dumps(body).encode()
    headers = {
        "X-API-Key": environment["SCHEDULER_ADMIN_KEY"],
        "Content-Type": "application/json",
    }
    with urlopen(Request(url, data=content, headers=headers), timeout=30) as reply:
        answer: dict[str, Any] = json.load(reply)
        return answer


def wait_for_step(
    environment: Mapping[str, str], url: str, step: str, status: str, seconds: float
) -> dict[str, Any]:
    """Reads an execution until a step of it has a status."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        execution = call(environment, url)
        if any(s["step_id"] == step and s["status"] == status for s in execution["steps"]):
            return execution
        time.sleep(0.1)
    raise AssertionError(f"step {step} is not {status} after {seconds} s: {execution}")


@pytest.mark.timeout(120)
def test_a_step_whose_host_was_killed_runs_again_on_the_next_host(
    environment: dict[str, str], tmp_path: Path
) -> None:
    import pyodbc

    with pyodbc.connect(environment["SCHEDULER_CONNECTION_DEFAULT"], autocommit=True) as connection:
        connection.execute("CREATE TABLE effect (step TEXT)")
        with start_dev_host(environment) as host:
            started = call(environment, f"{host.url}/api/v2/jobs/execute", JOB)
            path = f"/api/v2/executions/{started['execution_id']}"
            wait_for_step(environment, host.url + path, "long", "running", 20)
            host.kill()
        with start_dev_host(environment) as host:
            execution = wait_for_step(environment, host.url + path, "after", "success", 60)
        effects = [row[0] for row in connection.execute("SELECT step FROM effect")]
    connection.close()
    long = execution["steps"][1]
    assert execution["status"] == "success"
    assert [attempt["outcome"] for attempt in long["attempt_history"]] == ["lost", "success"]
    assert long["output"]["rows"] == [{"reached": 10}]
    assert effects == ["before", "after"]
