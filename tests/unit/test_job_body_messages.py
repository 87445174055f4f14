"""What is said of a faulty job: the remedy, what was found, and never a secret."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from scheduler.api.action_bodies import ResumeBody
from scheduler.api.wire_model import read_model
from scheduler.errors import InvalidRequest
from scheduler.schedule.wording import counted
from tests.unit.test_job_body import STEP, job, message, parse


def cron(**fields: Any) -> dict[str, Any]:  # noqa: ANN401
    return job(schedule={"type": "cron", "expression": "0 6 * * *", **fields})


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (job(shedule={}), "did you mean 'schedule'"),
        (job(timezone="Europe/Lodon"), "Europe/London"),
        (job(steps=[{"type": "SQL", "query": "x"}]), "did you mean 'sql'"),
        (job(steps=[{"type": "nothing", "query": "x"}]), "the known ones are sql"),
        (job(steps=[{**STEP, "zzz": 1}]), "its fields: "),
        (job(steps=[{**STEP, "run_if": "succes"}]), "did you mean 'success'"),
        (job(steps=[{**STEP, "query": "{{today}}"}]), "as a parameter"),
        (job(max_retries=2.5), "a whole number without point or exponent; found 2.5"),
        (job(max_retries=1e9), "without point or exponent; found 1000000000.0"),
        (job(priority=101), "must be 9 or less; found 101"),
        (job(priority=10**30), "must be 9 or less; found 10000000000000000000…"),
        (job(name="x" * 303), "has 303 characters; write at most 200"),
        (job(tags=["x"] * 21), "has 21 items; write at most 20"),
        (cron(type="crn"), "'interval' or 'once'; found 'crn'; did you mean 'cron'?"),
        (cron(start_at="2026-02-30T00:00:00Z"), "2026-02 has no day 30; write one from 01 to 28"),
        (cron(end_at="someday"), "such as 2027-01-31T06:00:00Z; found 'someday'"),
    ],
)
def test_the_message_names_the_remedy(document: dict[str, Any], words: str) -> None:
    assert words in message(document)


@pytest.mark.parametrize("blank", ["", "   "])
def test_an_empty_expression_is_answered_with_an_example(blank: str) -> None:
    assert message(cron(expression=blank)).endswith("like '30 2 * * *'")


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": [{**STEP, "query": "select ?", "parameters": "hunter2"}]},
        {"steps": [{**STEP, "query": "select ?", "parameters": [["hunter2"]]}]},
        {"steps": [{**STEP, "connection_name": ["hunter2"]}]},
        {"on_failure": {"webhook": "hunter2"}},
        {"on_failure": {"webhook": "https://x", "headers": {"A": "hunter2\n"}}},
    ],
)
def test_no_value_of_a_secret_field_is_shown(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        parse(job(**fields))
    assert "hunter2" not in str(refusal.value.errors)


def test_a_body_without_fields_is_told_as_such() -> None:
    with pytest.raises(InvalidRequest, match="/x: a resume has no fields; send no body"):
        read_model(ResumeBody, {"x": 1}, "a resume")


class Login(BaseModel):
    """What a step type of somebody else may ask for."""

    token: int = Field(le=5)
    password: Literal["a", "b"]
    retries: int = Field(le=5)


def test_what_was_found_is_shown_unless_its_name_sounds_secret() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_model(Login, {"token": 4711, "password": "c", "retries": 6}, "a login")
    assert {fault.pointer: fault.message for fault in refusal.value.errors} == {
        "/token": "must be 5 or less",
        "/password": "must be 'a' or 'b'",
        "/retries": "must be 5 or less; found 6",
    }


@pytest.mark.parametrize(("count", "text"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps")])
def test_what_is_counted_is_in_its_right_number(count: int, text: str) -> None:
    assert counted(count, "step") == text
