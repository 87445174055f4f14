"""The tour of the README, run as it is pasted: its own start, then its own lines in a shell."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.docs.markdown import README, blocks, section
from tools.process import ROOT, ChildProcess

TOUR = "A tour of five minutes"
REFUSED = 403


def _environment(**more: str) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith("SCHEDULER_")}
    return {**own, "PYTHONPATH": str(ROOT), **more}


def _serve(start: str, folder: Path) -> ChildProcess:
    """Runs the block that holds `make serve`, with the data in a folder of the test's own."""
    serve = f"exec {shlex.quote(sys.executable)} -m tools.serve --root . --port 0"
    script = f'make() {{ [ "$*" = serve ] && {serve}; }}\n{start}'
    return ChildProcess(["bash", "-c", script], name="serve", env=_environment(), cwd=folder)


def _paste(lines: list[str], folder: Path, port: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=folder,
        env=_environment(PORT=port),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{done.stderr}\n{done.stdout[-2000:]}"
    return done.stdout


def _values(text: str) -> Iterator[Any]:
    """The JSON values that stand one after the other in a text."""
    decoder = json.JSONDecoder()
    place = 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        value, place = decoder.raw_decode(text, place)
        yield value


def _rows(execution: dict[str, Any], place: int) -> list[dict[str, Any]]:
    """The rows that a step has left behind."""
    rows: list[dict[str, Any]] = execution["steps"][place]["output"]["rows"]
    return rows


@pytest.mark.timeout(180)
def test_the_tour_runs_as_pasted(tmp_path: Path) -> None:
    start, *lines = blocks(section(README, TOUR), "bash")
    with _serve(start, tmp_path) as serve:
        port = serve.wait_for(r"is served on http://127\.0\.0\.1:(\d+)", 90)[1]
        shown = list(_values(_paste(lines, tmp_path, port)))
    replies = [value for value in shown if isinstance(value, dict)]
    assert [value for value in shown if not isinstance(value, dict)] == [REFUSED]
    outputs = [reply for reply in replies if "rows" in reply]
    assert [one["rows"] for one in outputs] == [[{"visits": 1}]]
    assert [one for one in replies if one.get("success") is not True and one not in outputs] == []
    executions = {reply["job_name"]: reply for reply in replies if "end_time" in reply}
    assert {name: (one["status"], one["trigger"]) for name, one in executions.items()} == {
        "Count a visit": ("success", "manual"),
        "Morning report": ("success", "manual"),
        "Make the table": ("success", "manual"),
        "Keep the count": ("success", "retry"),
        "Count to a billion": ("cancelled", "manual"),
        "Hello": ("success", "schedule"),
        "Drop the table": ("success", "manual"),
    }
    assert _rows(executions["Count a visit"], 2)[0]["visits"] == 1
    assert _rows(executions["Hello"], 0)[0]["local_time"].endswith("+05:45")
    retried = executions["Keep the count"]["steps"]
    assert [step["status"] for step in retried] == ["success", "success", "skipped"]
    assert retried[0]["copied_from"] == executions["Keep the count"]["retry_of"]
    assert [reply["count"] for reply in replies if "executions" in reply][:2] == [2, 1]
