"""The office calendar: starts the scheduler, runs two jobs before your eyes, checks, and stops."""

import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from office_calendar import database
from office_calendar.api import Api, Document
from office_calendar.checks import (
    KATHMANDU,
    NEW_YORK,
    Check,
    check_kathmandu,
    check_office_day,
    rows_of,
    steps_of,
)
from office_calendar.failure import Failed
from office_calendar.scheduler import HORIZON_SECONDS, running_scheduler
from office_calendar.screen import Screen
from office_calendar.watch import progress

JOBS = Path(__file__).resolve().parent / "jobs"
OFFICE_DAY = JOBS / "office-day.json"
KATHMANDU_CLOCK = JOBS / "kathmandu-clock.yaml"
JOB_SECONDS = 60
LATE_SECONDS = 30
TICK_SECONDS = 5
INTERRUPTED = 130


def main() -> int:
    """Runs the example; returns the exit code: 0, 1 after a failure, 130 when interrupted."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    screen = Screen()
    began = time.monotonic()
    try:
        with TemporaryDirectory(prefix="office-calendar-") as folder:
            run(screen, Path(folder) / "office.db")
    except Failed as error:
        screen.failure(str(error))
        return 1
    except KeyboardInterrupt:
        screen.line("\nInterrupted; everything that was started is stopped.")
        return INTERRUPTED
    screen.line(
        f"\nDone in {time.monotonic() - began:.0f} s; everything that was started is stopped."
    )
    return 0


def run(screen: Screen, path: Path) -> None:
    """Loads the database, runs both jobs, checks what they did.

    Raises:
        Failed: anything did not go as it should.
    """
    screen.title("Office calendar: a scheduler on this machine")
    connection_text = database.connection_string(path)
    contents = database.load(connection_text, datetime.now(NEW_YORK).date())
    screen.fact(
        "database",
        f"SQLite through ODBC: {len(contents.zones)} zones, {len(contents.countries)} countries,"
        f" {len(contents.log_days):,} log entries",
    )
    with running_scheduler(connection_text, screen.fact) as api:
        office_day = run_office_day(screen, api)
        checks = check_office_day(office_day, contents, connection_text)
        checks += run_kathmandu_clock(screen, api)
        screen.title("The report: the countries with the most zones")
        screen.rows(rows_of(steps_of(office_day)["report"]))
        screen.title("Checked against the data")
        screen.checks(checks)
        if wrong := sum(not check.passed for check in checks):
            raise Failed(f"{wrong} of {len(checks)} checks failed: see above what was found")


def run_office_day(screen: Screen, api: Api) -> Document:
    """Runs the job in New York by a call."""
    screen.title("POST /api/v2/jobs/execute: office-day, four steps in America/New_York")
    execution_id = api.execute(OFFICE_DAY)["execution_id"]
    until = datetime.now(UTC) + timedelta(seconds=JOB_SECONDS)
    return _successful(screen.follow(progress(api, execution_id, until)))


def run_kathmandu_clock(screen: Screen, api: Api) -> list[Check]:
    """Stores the job in Kathmandu, waits until the timer has fired it, and deletes it."""
    screen.title("POST /api/v2/jobs: kathmandu-clock, each minute in Asia/Kathmandu (* * * * *)")
    job = api.create(KATHMANDU_CLOCK)
    due = _fired_by_timer(job)
    execution_id = f"{job['job_id']}.{due:%Y%m%dT%H%M%SZ}"
    note = f"the timer fires at {due.astimezone(KATHMANDU):%H:%M:%S} in Kathmandu"
    until = due + timedelta(seconds=LATE_SECONDS)
    execution = _successful(screen.follow(progress(api, execution_id, until), note))
    checks = check_kathmandu(execution, _last_tick(api, due))
    api.delete(job["job_id"])
    screen.line(f"  DELETE /api/v2/jobs/{job['job_id']}: deleted", "dim")
    return checks


def _fired_by_timer(job: Document) -> datetime:
    """The first run that creating the job could not have announced by itself, UTC."""
    beyond = datetime.now(UTC) + timedelta(seconds=HORIZON_SECONDS)
    runs = [datetime.fromisoformat(run["utc"]) for run in job["next_runs"]]
    return next(run for run in runs if run > beyond)


def _last_tick(api: Api, due: datetime) -> datetime:
    """When the timer last ticked; the tick that fires a run is noted a moment after it."""
    until = time.monotonic() + TICK_SECONDS
    while True:
        text = api.status()["last_tick"]
        last = datetime.fromisoformat(text) if text else datetime.min.replace(tzinfo=UTC)
        if last >= due or time.monotonic() > until:
            return last
        time.sleep(0.1)


def _successful(execution: Document) -> Document:
    if execution["status"] != "success":
        raise Failed(
            f"{execution['execution_id']} ended as {execution['status']}: {execution['message']}"
        )
    return execution


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # Once is enough: a second Ctrl-C must not keep it from stopping what it started.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
