"""The office calendar, as `make run` runs it."""

import os
import subprocess
import sys

import pytest

from tools.process import ROOT


@pytest.mark.timeout(180)
def test_the_office_calendar_runs_both_jobs_and_finds_its_results_right() -> None:
    ran = subprocess.run(
        [sys.executable, "examples/office-calendar/run.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": "."},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = ran.stdout
    assert "purge_old_log: success, attempt 1" in told
    assert "file_report: success, attempt 2" in told
    assert "note_the_minute: success, attempt 1" in told
    assert "DELETE /api/v2/jobs/kathmandu-clock: deleted" in told
    assert "United States" in told
    assert told.count("✓") == 12  # five steps, seven checks
    assert "✗" not in told
