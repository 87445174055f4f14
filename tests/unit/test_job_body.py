import json
from datetime import UTC, datetime
from typing import Any

import pytest

from scheduler.api.job_body import parse_job, unused_fields, unwrap_job
from scheduler.api.job_view import job_document
from scheduler.errors import InvalidRequest
from scheduler.jobs.model import CatchUp, Job, OnInterrupt, Overlap, RunIf
from steps.registry import Registry

NOW = datetime(2026, 11, 23, 1, 2, 3, 456, tzinfo=UTC)
REGISTRY = Registry.discover()
STEP: dict[str, Any] = {"type": "sql", "query": "select 1"}


def parse(document: dict[str, Any], **options: Any) -> Job:  # noqa: ANN401
    return parse_job(document, registry=REGISTRY, now=NOW, new_id=lambda: "made", **options)


def job(**fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return {"name": "a job", "steps": [STEP], **fields}


def faults(document: dict[str, Any], **options: Any) -> dict[str, str]:  # noqa: ANN401
    with pytest.raises(InvalidRequest) as refusal:
        parse(document, **options)
    return {fault.pointer: fault.code for fault in refusal.value.errors}


def message(document: dict[str, Any]) -> str:
    with pytest.raises(InvalidRequest) as refusal:
        parse(document)
    return refusal.value.errors[0].message


def test_the_least_job_has_the_documented_defaults() -> None:
    parsed = parse(job())
    assert (parsed.id, parsed.timezone, parsed.enabled, parsed.schedule) == (
        "made",
        "UTC",
        True,
        None,
    )
    assert (parsed.max_retries, parsed.retry_delay, parsed.timeout_seconds) == (0, 30, 3600)
    assert (parsed.max_parallel, parsed.priority, parsed.tags) == (8, 0, ())
    (step,) = parsed.steps
    assert (step.id, step.name, step.type) == ("step_1", "step_1", "sql")
    assert (step.timeout, step.max_retries, step.retry_delay) == (300, 0, 30)
    assert (step.on_interrupt, step.run_if) == (OnInterrupt.RETRY, RunIf.SUCCESS)
    assert (step.depends_on, dict(step.config)) == (None, {"query": "select 1"})


def test_every_field_is_read() -> None:
    parsed = parse(FULL)
    assert (parsed.id, parsed.timezone, parsed.tags) == ("full", "America/New_York", ("x", "y"))
    assert parsed.schedule is not None
    assert (parsed.schedule.overlap, parsed.schedule.catch_up) == (Overlap.QUEUE, CatchUp.NONE)
    assert parsed.schedule.start_at == datetime(2027, 1, 1, 5, tzinfo=UTC)
    assert parsed.steps[1].depends_on == ("first",)
    assert parsed.on_failure == {"webhook": "https://example.org/x", "body": {"d": "{{today}}"}}


FULL: dict[str, Any] = job(
    id="full",
    description="text",
    timezone="america/new_york",
    enabled=False,
    steps=[
        {**STEP, "id": "first", "name": "First", "parameters": None, "publish": ["n"]},
        {
            "step_id": "second",
            "step_name": "Second",
            "step_type": "sql",
            "config": {"query": "select ?", "parameters": ["{{today}}"]},
            "timeout": 12.5,
            "max_retries": 2,
            "retry_delay": 7,
            "continue_on_failure": True,
            "on_interrupt": "fail",
            "depends_on": ["first"],
            "run_if": "always",
        },
    ],
    schedule={
        "type": "cron",
        "expression": "30 6 * * 1-5",
        "start_at": "2027-01-01T00:00:00-05:00",
        "end_at": "2028-01-01T00:00:00Z",
        "jitter_seconds": 5,
        "catch_up": "none",
        "catch_up_window_seconds": 60,
        "overlap": "queue",
    },
    max_retries=1,
    retry_delay=5,
    timeout_seconds=60,
    max_parallel=2,
    priority=9,
    on_failure={"webhook": "https://example.org/x", "headers": None, "body": {"d": "{{today}}"}},
    on_success={"webhook": "https://example.org/y", "headers": {"X-A": "b"}},
    tags=["x", "y"],
    metadata={"owner": {"team": "ops", "phone": None}},
)


@pytest.mark.parametrize("document", [job(), FULL])
def test_what_is_shown_can_be_sent_back_and_stored(document: dict[str, Any]) -> None:
    parsed = parse(document)
    shown = json.loads(json.dumps(job_document(parsed)))
    assert parse(shown) == parsed
    assert parse(shown).to_json() == parsed.to_json()
    assert Job.from_json(parsed.to_json()) == parsed


def test_null_counts_as_absent() -> None:
    assert parse(job(schedule=None, tags=None, id=None, retry_delay=None)) == parse(job())


def test_a_null_inside_metadata_is_kept() -> None:
    assert parse(job(metadata={"a": None})).metadata == {"a": None}


def test_all_faults_come_at_once_with_their_pointers() -> None:
    document = {
        "id": "a/b",
        "name": "n" * 201,
        "timezone": "Europe/Lodon",
        "step": [],
        "steps": [
            {"step_id": "a b", "step_type": "sqll"},
            {"type": "sql", "config": {"qury": "x", "parameters": ["{{todya}}"]}},
            5,
            {**STEP, "timeout": "60", "query": "select {{today}}", "depends_on": ["nowhere"]},
        ],
        "schedule": {"type": "cron", "expression": "61 * * * *", "start": 1},
        "max_retries": True,
        "retry_delay": 0,
        "tags": ["two words"],
        "on_late": {"webhook": "ftp://x"},
        "metadata": [],
    }
    assert faults(document) == {
        "/id": "invalid_format",
        "/name": "too_long",
        "/timezone": "unknown_timezone",
        "/step": "unknown_field",
        "/steps/0/step_id": "invalid_format",
        "/steps/0/step_type": "unknown_step_type",
        "/steps/1/config/qury": "unknown_field",
        "/steps/1/config/query": "missing",
        "/steps/1/config/parameters/0": "unknown_template",
        "/steps/2": "wrong_type",
        "/steps/3/timeout": "wrong_type",
        "/steps/3/query": "template_not_allowed",
        "/steps/3/depends_on/0": "unknown_step",
        "/schedule/start": "unknown_field",
        "/schedule/expression": "invalid_cron",
        "/max_retries": "wrong_type",
        "/retry_delay": "out_of_range",
        "/tags/0": "invalid_format",
        "/on_late/webhook": "invalid_format",
        "/metadata": "wrong_type",
    }


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"name": None}, "/name", "missing"),
        ({"name": ""}, "/name", "too_short"),
        ({"schedule": {"type": "cron", "expression": ""}}, "/schedule/expression", "invalid_cron"),
        ({"name": " \t"}, "/name", "invalid_format"),
        ({"name": 5}, "/name", "wrong_type"),
        ({"id": "x" * 65}, "/id", "invalid_format"),
        ({"id": "x\n"}, "/id", "invalid_format"),
        ({"description": "x" * 4001}, "/description", "too_long"),
        ({"timezone": "localtime"}, "/timezone", "unknown_timezone"),
        ({"timezone": 5}, "/timezone", "wrong_type"),
        ({"enabled": "yes"}, "/enabled", "wrong_type"),
        ({"steps": []}, "/steps", "too_short"),
        ({"steps": [STEP] * 101}, "/steps", "too_long"),
        ({"steps": {}}, "/steps", "wrong_type"),
        ({"max_retries": 21}, "/max_retries", "out_of_range"),
        ({"max_retries": 1.5}, "/max_retries", "wrong_type"),
        ({"retry_delay": 3601}, "/retry_delay", "out_of_range"),
        ({"timeout_seconds": 604_801}, "/timeout_seconds", "out_of_range"),
        ({"max_parallel": 0}, "/max_parallel", "out_of_range"),
        ({"priority": 10}, "/priority", "out_of_range"),
        ({"tags": ["x"] * 21}, "/tags", "too_long"),
        ({"metadata": {"a": "ü" * 9_000}}, "/metadata", "too_large"),
        ({"metadata": {"a": "x" * 270_000}}, "", "too_large"),
        ({"on_failure": {}}, "/on_failure/webhook", "missing"),
        (
            {"on_failure": {"webhook": "https://x", "headers": {"A": "{{now"}}},
            "/on_failure/headers/A",
            "invalid_template",
        ),
        ({"schedule": "daily"}, "/schedule", "wrong_type"),
        ({"schedule": {"type": "cron"}}, "/schedule/expression", "missing"),
    ],
)
def test_a_field_beyond_its_limits_is_a_fault(
    fields: dict[str, Any], pointer: str, code: str
) -> None:
    assert faults(job(**fields)) == {pointer: code}


@pytest.mark.parametrize(
    ("fields", "name", "code"),
    [
        ({"id": "1a"}, "id", "invalid_format"),
        ({"id": "a" * 65}, "id", "invalid_format"),
        ({"type": None}, "type", "missing"),
        ({"type": 5}, "type", "wrong_type"),
        ({"timeout": 6901}, "timeout", "out_of_range"),
        ({"timeout": 0}, "timeout", "out_of_range"),
        ({"run_if": "sometimes"}, "run_if", "invalid_choice"),
        ({"publish": ["a b"]}, "publish/0", "invalid_format"),
        ({"depends_on": "a"}, "depends_on", "wrong_type"),
        ({"config": 5}, "config", "wrong_type"),
        ({"step_id": "b", "id": "a"}, "id", "given_twice"),
        ({"config": {"query": "select 2"}}, "config/query", "given_twice"),
        ({"config": {"timeout": 5}}, "config/timeout", "unknown_field"),
        ({"max_rows": "5"}, "max_rows", "wrong_type"),
        ({"max_rows": 0}, "max_rows", "out_of_range"),
        ({"querry": "x"}, "querry", "unknown_field"),
    ],
)
def test_a_step_beyond_its_limits_is_a_fault(fields: dict[str, Any], name: str, code: str) -> None:
    assert faults(job(steps=[{**STEP, **fields}])) == {f"/steps/0/{name}": code}


@pytest.mark.parametrize(
    ("schedule", "pointer", "code"),
    [
        ({"expression": "60 * * * *"}, "expression", "invalid_cron"),
        ({"expression": "x" * 257}, "expression", "too_long"),
        ({"expression": "0s", "type": "interval"}, "expression", "invalid_interval"),
        ({"expression": "soon", "type": "once"}, "expression", "invalid_once"),
        ({"type": "crn"}, "type", "invalid_choice"),
        ({"anchor": "2027-01-01T00:00:00Z"}, "anchor", "unexpected_field"),
        ({"start_at": "2027-01-01T00:00:00"}, "start_at", "missing_offset"),
        ({"start_at": "0001-01-01T00:00:00Z"}, "start_at", "invalid_value"),
        ({"end_at": "someday"}, "end_at", "invalid_time"),
        ({"end_at": 1_800_000_000}, "end_at", "wrong_type"),
        (
            {"start_at": "2028-01-01T00:00:00Z", "end_at": "2027-01-01T00:00:00Z"},
            "end_at",
            "invalid_schedule",
        ),
        ({"jitter_seconds": -1}, "jitter_seconds", "out_of_range"),
        ({"overlap": "skp"}, "overlap", "invalid_choice"),
    ],
)
def test_a_schedule_that_cannot_be_computed_is_a_fault(
    schedule: dict[str, Any], pointer: str, code: str
) -> None:
    whole = {"type": "cron", "expression": "0 6 * * *", **schedule}
    assert faults(job(schedule=whole)) == {f"/schedule/{pointer}": code}


def test_a_step_of_a_repeated_id_has_its_dependencies_checked_too() -> None:
    steps = [{**STEP, "id": "a"}, {**STEP, "id": "a", "depends_on": ["zz"]}]
    assert faults(job(steps=steps)) == {
        "/steps/1/id": "duplicate_step_id",
        "/steps/1/depends_on/0": "unknown_step",
    }


def test_a_circle_of_steps_is_shown_as_its_path() -> None:
    steps = [
        {**STEP, "id": "a", "depends_on": ["b"]},
        {**STEP, "id": "b", "depends_on": ["c"]},
        {**STEP, "id": "c", "depends_on": ["b"]},
    ]
    assert faults(job(steps=steps)) == {"/steps/1/depends_on": "dependency_cycle"}
    assert message(job(steps=steps)).endswith("b → c → b")


def test_a_step_that_awaits_itself_is_a_circle() -> None:
    steps = [{**STEP, "id": "a", "depends_on": ["a"]}]
    assert faults(job(steps=steps)) == {"/steps/0/depends_on": "dependency_cycle"}


def test_a_hundred_steps_in_a_chain_are_fine() -> None:
    steps = [{**STEP, "id": f"s{n}", "depends_on": [f"s{n + 1}"]} for n in range(99)]
    assert len(parse(job(steps=[*steps, {**STEP, "id": "s99"}])).steps) == 100


def test_two_steps_of_one_id_are_a_fault_made_ids_included() -> None:
    assert faults(job(steps=[STEP | {"id": "step_2"}, STEP])) == {
        "/steps/1/id": "duplicate_step_id"
    }


def test_a_step_without_retries_of_its_own_takes_the_jobs() -> None:
    parsed = parse(job(max_retries=4, retry_delay=9, steps=[STEP, STEP | {"max_retries": 0}]))
    assert [(step.max_retries, step.retry_delay) for step in parsed.steps] == [(4, 9), (0, 9)]


def test_whole_seconds_are_equal_however_they_are_written() -> None:
    assert parse(job(retry_delay=30.0)).to_json() == parse(job()).to_json()


def test_an_interval_counts_from_now_from_the_stored_anchor_or_from_its_own() -> None:
    every_hour = {"type": "interval", "expression": "1h"}
    stored = datetime(2026, 1, 1, tzinfo=UTC)
    own = {**every_hour, "anchor": "2025-01-01T00:00:00Z"}
    for schedule, anchor, expected in (
        (every_hour, None, NOW.replace(microsecond=0)),
        (every_hour, stored, stored),
        (own, stored, datetime(2025, 1, 1, tzinfo=UTC)),
    ):
        parsed = parse(job(schedule=schedule), anchor=anchor)
        assert parsed.schedule is not None
        assert parsed.schedule.anchor == expected


def test_the_id_of_the_path_is_taken_and_another_in_the_body_is_a_fault() -> None:
    assert parse(job(), job_id="p").id == parse(job(id="p"), job_id="p").id == "p"
    assert faults(job(id="q"), job_id="p") == {"/id": "id_mismatch"}


def test_pointers_are_those_of_the_request_when_the_job_is_wrapped() -> None:
    document, where = unwrap_job({"job": job(name=5, steps=[{**STEP, "x": 1}])})
    assert faults(dict(document), where=where) == {
        "/job/name": "wrong_type",
        "/job/steps/0/x": "unknown_field",
    }
    with pytest.raises(InvalidRequest):
        unwrap_job({"job": 5})
    assert unwrap_job(job()) == (job(), "")


def test_a_flood_of_faults_ends_at_a_hundred() -> None:
    step = {**STEP, **{f"x{number}": 1 for number in range(2_000)}}
    assert len(faults(job(steps=[step]))) == 100


def test_what_is_not_acted_upon_yet_is_a_warning() -> None:
    assert unused_fields(parse(job())) == []
    notices = unused_fields(parse(FULL))
    words = [notice.message.split(" ")[0] for notice in notices]
    assert words == ["on_failure", "on_success"]
    assert {notice.code for notice in notices} == {"not_used_yet"}
