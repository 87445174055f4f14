"""A short run of `make chaos`: real hosts are killed and storage is stopped, and it balances."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.postgres import Postgres
from tools.process import ROOT, ProcessFailed


@pytest.mark.timeout(480)
def test_a_short_run_with_kills_outages_and_copies_balances(tmp_path: Path) -> None:
    try:
        with Postgres():
            pass
    except ProcessFailed as missing:
        pytest.skip(str(missing))
    out = tmp_path / "chaos.json"
    command = [sys.executable, "-m", "chaos", "--minutes", "0.4", "--seed", "2", "--clocks", "4"]
    ended = subprocess.run(
        [*command, "--out", str(out)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    figures = json.loads(out.read_text("utf-8"))
    counts = {line["what"]: line["count"] for line in figures["sheet"]["lines"]}
    assert figures["happened"]["hosts killed"] > 0
    assert counts["executions recorded"] > 0
    assert counts["looks of steps that wait"] > 0
    assert counts["left over"] == 0
