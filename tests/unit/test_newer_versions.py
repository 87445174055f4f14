"""What a later version of the app has written is read by this one: two run at once in a deploy."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from scheduler.dispatch.ids import Trigger, scheduled_id
from scheduler.execution.records import run_columns, run_of, step_columns, step_of
from scheduler.execution.rules.model import Attempt, Run, StepRecord, StepState
from scheduler.execution.rules.states import StepStatus
from scheduler.jobs.due import due_of
from scheduler.jobs.model import Job, JobId, Schedule, ScheduleType, StepId, StepSpec
from scheduler.schedule.plan import plan_job
from scheduler.storage.tables import Row, Value

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
STEP = StepSpec(id=StepId("one"), name="one", type="sql", config={"query": "select 1"})
SCHEDULE = Schedule(type=ScheduleType.CRON, expression="0 7 * * *", start_at=NOW)
JOB = Job(id=JobId("job"), name="job", steps=(STEP,), schedule=SCHEDULE)
LATER: dict[str, Any] = {"added_later": {"deep": [1]}}


def row(values: dict[str, Value]) -> Row:
    """The values as read back, with a column that this version does not know."""
    return Row("p", "k", {**values, "added_later": "text"}, "etag")


def with_more(text: object) -> str:
    """A JSON list of objects, each with a field that this version does not know."""
    return json.dumps([{**one, **LATER} for one in json.loads(str(text))])


def test_a_definition_with_fields_of_a_later_version_is_read_without_them() -> None:
    document = json.loads(JOB.to_json())
    document["steps"][0] |= LATER
    document["schedule"] |= LATER
    assert Job.from_json(json.dumps(document | LATER).encode()) == JOB


def test_a_due_row_with_fields_of_a_later_version_is_read_without_them() -> None:
    due = plan_job(JOB, "r", NOW)
    assert due is not None
    columns = due.columns()
    columns["schedule"] = json.dumps(json.loads(str(columns["schedule"])) | LATER)
    assert due_of(row(columns)) == due


def test_a_run_row_with_fields_of_a_later_version_is_read_without_them() -> None:
    run = Run(
        execution_id=scheduled_id("job", NOW),
        job_name="job",
        timezone="UTC",
        definition="hash",
        trigger=Trigger.SCHEDULE,
        scheduled_time=NOW,
        created_at=NOW,
        deadline=NOW,
        progress_at=NOW,
        steps=(StepState(id=StepId("one"), wake_at=NOW), StepState(id=StepId("two"))),
    )
    columns = run_columns(run)
    columns["steps"] = with_more(columns["steps"])
    assert run_of(row(columns)) == run


def test_a_step_row_with_fields_of_a_later_version_is_read_without_them() -> None:
    record = StepRecord(
        id=StepId("one"),
        name="one",
        type="sql",
        status=StepStatus.RUNNING,
        fence="f",
        lease_until=NOW,
        attempts=(Attempt(number=1, outcome="failed", start_time=NOW, end_time=NOW),),
    )
    columns = step_columns(record)
    columns["attempts"] = with_more(columns["attempts"])
    assert step_of(row(columns)) == replace(record, metadata={})
