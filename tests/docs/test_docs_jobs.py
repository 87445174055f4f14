"""The pages for job authors: fields, step types, templates, clock changes, examples."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import available_timezones

import pytest

from scheduler.api.body import read_body
from scheduler.api.faults import Faults
from scheduler.api.job_body import parse_job
from scheduler.api.job_steps import read_step
from scheduler.api.job_wire import JobBody, NotificationBody, ScheduleBody, StepBody
from scheduler.errors import ScheduleError
from scheduler.jobs.model import CatchUp, Job, OnInterrupt, Overlap, RunIf, Schedule, ScheduleType
from scheduler.jobs.templates import NAMES, TemplateValues, render
from scheduler.schedule.triggers import preview, validate_schedule
from steps.registry import BUILT_IN, Registry
from tests.docs.field_tables import documented_defaults, real_defaults
from tests.docs.markdown import DOCS, blocks, read, section, table, words
from tests.unit.tzif import shifts

JOB = DOCS / "job.md"
TEMPLATES = DOCS / "templates.md"
ZONES = DOCS / "time-zones.md"
REGISTRY = Registry.discover()
DUE = datetime(2027, 3, 14, 6, 30, tzinfo=UTC)
VALUES = TemplateValues(
    scheduled_time=DUE,
    now=DUE + timedelta(seconds=2),
    execution_id="nightly.20270314T063000Z",
    job_id="nightly",
    job_name="Nightly purge",
    timezone="America/New_York",
    attempt=1,
    published={"count": {"visits": 42}},
)


def _parsed(document: dict[str, object]) -> Job:
    return parse_job(document, registry=REGISTRY, now=DUE, new_id=lambda: "made")


def test_the_fields_of_a_job_are_documented_with_their_defaults() -> None:
    assert documented_defaults(section(JOB, "Job")) == real_defaults(JobBody)


def test_the_fields_of_a_schedule_are_documented_with_their_defaults() -> None:
    assert documented_defaults(section(JOB, "Schedule")) == real_defaults(ScheduleBody)


def test_the_fields_of_a_notification_are_documented_with_their_defaults() -> None:
    assert documented_defaults(section(JOB, "Notification")) == real_defaults(NotificationBody)


def test_the_fields_of_a_step_are_documented_with_their_defaults() -> None:
    made = read_step({"type": "sql"}, 1, "", Faults()).fields["id"]
    assert made == "step_1"
    expected = real_defaults(StepBody) | {"id": "made"}
    assert documented_defaults(section(JOB, "Steps")) == expected


@pytest.mark.parametrize(
    ("title", "field", "choices"),
    [
        ("Steps", "on_interrupt", OnInterrupt),
        ("Steps", "run_if", RunIf),
        ("Schedule", "type", ScheduleType),
        ("Schedule", "catch_up", CatchUp),
        ("Schedule", "overlap", Overlap),
    ],
)
def test_the_choices_of_a_field_are_documented(
    title: str, field: str, choices: type[OnInterrupt]
) -> None:
    rows = table(section(JOB, title), "field", "type and limits")
    row = next(row for row in rows if words(row["field"]) == [field])
    assert words(row["type and limits"]) == [choice.value for choice in choices]


@pytest.mark.parametrize("step_type", sorted(BUILT_IN))
def test_every_step_type_has_a_page_with_its_fields(step_type: str) -> None:
    page = DOCS / "steps" / f"{step_type}.md"
    assert documented_defaults(read(page)) == real_defaults(REGISTRY.get(step_type).Config)
    assert f"(steps/{step_type}.md)" in read(JOB)


@pytest.mark.parametrize("step_type", sorted(BUILT_IN))
def test_the_example_of_a_step_type_is_a_valid_step(step_type: str) -> None:
    for text in blocks(read(DOCS / "steps" / f"{step_type}.md"), "json"):
        assert _parsed({"name": "example", "steps": [json.loads(text)]}).steps


def test_the_examples_of_jobs_are_valid_jobs() -> None:
    first, second = blocks(read(JOB), "yaml")
    assert _parsed(read_body(first.encode(), "application/yaml")).schedule is not None
    assert _parsed(read_body(second.encode(), "application/yaml")).steps[0].publish == ("visits",)


def test_every_template_name_is_documented() -> None:
    rows = table(read(TEMPLATES), "name", "gives")
    assert [words(row["name"])[0] for row in rows] != []
    assert {words(row["name"])[0] for row in rows} == set(NAMES)


@pytest.mark.parametrize(
    "row", table(read(TEMPLATES), "written", "becomes"), ids=lambda row: row["written"]
)
def test_every_template_example_becomes_what_the_page_says(row: dict[str, str]) -> None:
    assert render(row["written"].strip("`"), VALUES) == row["becomes"].strip("`")


@pytest.mark.parametrize(
    "row",
    table(read(ZONES), "schedule", "zone"),
    ids=lambda row: f"{row['schedule']} {row['zone']} {row['after']}",
)
def test_every_clock_change_example_runs_when_the_page_says(row: dict[str, str]) -> None:
    expected = [text.strip() for text in row["runs"].split(",")]
    kind, after = ScheduleType(row["type"]), datetime.fromisoformat(row["after"])
    anchor = after if kind is ScheduleType.INTERVAL else None
    schedule = Schedule(type=kind, expression=row["schedule"].strip("`"), anchor=anchor)
    runs = preview(schedule, row["zone"], after, len(expected))
    assert [run["local"] for run in runs] == expected
    reasons = [run["reason"] for run in runs if "reason" in run]
    assert reasons[:1] == [row["the preview says"]][: bool(row["the preview says"])]


def test_from_04_to_21_oclock_every_wall_time_comes_once_in_every_zone() -> None:
    assert "From 04:00 to 21:00" in read(ZONES)
    for zone in available_timezones() - {"Factory", "localtime"}:
        for change in shifts(zone, 2024, 2037):
            first, end = sorted((change.at + change.before, change.at + change.after))
            assert first.hour >= 21 or end.hour * 60 + end.minute <= 4 * 60, (zone, change)


@pytest.mark.parametrize(
    "row",
    table(read(ZONES), "written elsewhere", "write here"),
    ids=lambda row: row["written elsewhere"],
)
def test_what_others_write_is_refused_and_what_the_page_says_instead_is_read(
    row: dict[str, str],
) -> None:
    with pytest.raises(ScheduleError, match=r"write|take this out|no year field"):
        validate_schedule(_cron(row["written elsewhere"]), "UTC", DUE)
    validate_schedule(_cron(row["write here"]), "UTC", DUE)


def _cron(cell: str) -> Schedule:
    return Schedule(type=ScheduleType.CRON, expression=cell.strip("`"))
