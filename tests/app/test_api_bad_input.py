"""What nobody should send: each is a 4xx that says where and what to do, and nothing is written."""

import json
from typing import Any

import pytest

from tests.app.exchange import (
    JOBS,
    NOTE,
    check_fault,
    check_problem,
    check_success,
    note_job,
)
from tests.app.live_app import LiveApp

MIB = 1024 * 1024
JSON_TEXT = json.dumps(note_job())
YAML = "application/yaml"


def _schedule(kind: str, expression: str, **more: str) -> dict[str, Any]:
    return {"schedule": {"type": kind, "expression": expression, **more}}


BODIES: list[tuple[bytes, str, str, int]] = [
    (b"", "malformed_body", "malformed_body", 400),
    (b" \n", "malformed_body", "malformed_body", 400),
    (b"{", "malformed_body", "malformed_body", 400),
    (b'{"name": "x",}', "malformed_body", "malformed_body", 400),
    (b"[]", "malformed_body", "malformed_body", 400),
    (b"null", "malformed_body", "malformed_body", 400),
    (b'"text"', "malformed_body", "malformed_body", 400),
    (b'{"name": NaN}', "malformed_body", "malformed_body", 400),
    (b'{"max_retries": 1e400}', "malformed_body", "malformed_body", 400),
    (b'{"priority": ' + b"9" * 5_000 + b"}", "malformed_body", "malformed_body", 400),
    (b'{"name": "x", "name": "y"}', "malformed_body", "duplicate_name", 400),
    (b'{"name": "\xff"}', "malformed_body", "not_utf8", 400),
    ('{"name": "x"}'.encode("utf-16"), "malformed_body", "not_utf8", 400),
    (b"[" * 500_000, "malformed_body", "too_deep", 400),
    (b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "malformed_body", "too_deep", 400),
    (b'{"name": "' + b"x" * MIB + b'"}', "body_too_large", "body_too_large", 413),
    (b" " * MIB + b"{}", "body_too_large", "body_too_large", 413),
]
YAMLS = [
    "a: &a [x, x]\nb: [*a, *a]",
    "a: !!python/object/apply:os.system ['id']",
    "? [a]\n: b",
    "--- {a: 1}\n--- {b: 2}",
    "[" * 100_000,
    "- " * 100_000,
    "a: [",
    "a: \x01",
    'a: "\\ud800"',
    "a: .inf",
    "a: " + "9" * 50_000,
    "%YAML 9.9\n---\na: 1",
    "- a\n- b",
]
FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"name": 5}, "/name", "wrong_type"),
    ({"name": ""}, "/name", "too_short"),
    ({"name": "n" * 201}, "/name", "too_long"),
    ({"name": "a\nb"}, "/name", "invalid_format"),
    ({"name": "a\x1b[2J"}, "/name", "invalid_format"),
    ({"name": "a\x9b2J"}, "/name", "invalid_format"),
    ({"name": "a\u2028b"}, "/name", "invalid_format"),
    ({"name": "\u202efdp.exe"}, "/name", "invalid_format"),
    ({"name": "\u200b \u00a0"}, "/name", "invalid_format"),
    ({"name": "a\0"}, "/name", "invalid_text"),
    ({"name": "\ud800"}, "/name", "invalid_text"),
    ({"id": "a/b"}, "/id", "invalid_format"),
    ({"id": "x" * 65}, "/id", "invalid_format"),
    ({"id": ""}, "/id", "invalid_format"),
    ({"id": ".."}, "/id", "invalid_format"),
    ({"id": "a\n"}, "/id", "invalid_format"),
    ({"id": "a'b"}, "/id", "invalid_format"),
    ({"id": "é"}, "/id", "invalid_format"),
    ({"id": 5}, "/id", "wrong_type"),
    ({"timezone": "Mars/Olympus"}, "/timezone", "unknown_timezone"),
    ({"timezone": "../../etc/passwd"}, "/timezone", "unknown_timezone"),
    ({"timezone": "localtime"}, "/timezone", "unknown_timezone"),
    ({"timezone": 5}, "/timezone", "wrong_type"),
    ({"enabled": "yes"}, "/enabled", "wrong_type"),
    ({"enabled": 1}, "/enabled", "wrong_type"),
    ({"priority": 10**30}, "/priority", "out_of_range"),
    ({"timeout_seconds": -1}, "/timeout_seconds", "out_of_range"),
    ({"max_retries": 1.5}, "/max_retries", "wrong_type"),
    ({"metadata": []}, "/metadata", "wrong_type"),
    ({"metadata": {"a": "x" * 20_000}}, "/metadata", "too_large"),
    ({"metadata": {"a": "x" * 300_000}}, "", "too_large"),
    ({"tags": ["two words"]}, "/tags/0", "invalid_format"),
    ({"on_failure": {"webhook": "file:///etc/passwd"}}, "/on_failure/webhook", "invalid_format"),
    ({"steps": []}, "/steps", "too_short"),
    ({"steps": {}}, "/steps", "wrong_type"),
    ({"steps": [5]}, "/steps/0", "wrong_type"),
    ({"steps": [NOTE] * 101}, "/steps", "too_long"),
    ({"steps": [{**NOTE, "type": "nope"}]}, "/steps/0/type", "unknown_step_type"),
    ({"steps": [{**NOTE, "type": "__import__"}]}, "/steps/0/type", "unknown_step_type"),
    ({"steps": [{**NOTE, "timeout": -5}]}, "/steps/0/timeout", "out_of_range"),
    ({"steps": [{**NOTE, "timeout": 1e300}]}, "/steps/0/timeout", "out_of_range"),
    ({"steps": [{**NOTE, "timeout": "5"}]}, "/steps/0/timeout", "wrong_type"),
    ({"steps": [{**NOTE, "timeout": True}]}, "/steps/0/timeout", "wrong_type"),
    ({"steps": [{"type": "note"}]}, "/steps/0/text", "missing"),
    ({"steps": [{**NOTE, "text": "{{7*7}}"}]}, "/steps/0/text", "unknown_template"),
    ({"steps": [{**NOTE, "text": "{{today" * 20_000}]}, "/steps/0/text", "invalid_template"),
    ({"steps": [{**NOTE, "depends_on": ["x"]}]}, "/steps/0/depends_on/0", "unknown_step"),
    (
        {"steps": [{**NOTE, "id": "a"}, {**NOTE, "id": "a"}]},
        "/steps/1/id",
        "duplicate_step_id",
    ),
    ({"steps": [{**NOTE, "id": "1a"}]}, "/steps/0/id", "invalid_format"),
    (
        {"steps": [{**NOTE, "id": f"s{n}", "depends_on": [f"s{(n + 1) % 9}"]} for n in range(9)]},
        "/steps/0/depends_on",
        "dependency_cycle",
    ),
    (_schedule("cron", "61 * * * *"), "/schedule/expression", "invalid_cron"),
    (_schedule("cron", "0 0 30 2 *"), "/schedule/expression", "invalid_cron"),
    (_schedule("cron", "*" * 257), "/schedule/expression", "too_long"),
    (_schedule("hourly", "1"), "/schedule/type", "invalid_choice"),
    (_schedule("interval", "0s"), "/schedule/expression", "invalid_interval"),
    (_schedule("once", "2020-01-01T00:00:00"), "/schedule/expression", "invalid_once"),
]


@pytest.mark.parametrize(("body", "code", "fault", "status"), BODIES)
def test_a_body_that_is_no_json_object_is_refused(
    live: LiveApp, body: bytes, code: str, fault: str, status: int
) -> None:
    with live.writes() as writes:
        reply = live.call("POST", JOBS, body, content_type="application/json")
    check_fault(reply, "", fault, code)
    assert (reply.status, writes) == (status, [])
    assert len(reply.body) < 2_000


@pytest.mark.parametrize("text", YAMLS)
def test_yaml_that_is_more_than_json_is_refused(live: LiveApp, text: str) -> None:
    with live.writes() as writes:
        reply = live.call("POST", JOBS, text, content_type=YAML)
    check_fault(reply, "", "malformed_body", "malformed_body")
    assert (reply.status, writes) == (400, [])


@pytest.mark.parametrize(("fields", "pointer", "fault"), FIELDS)
def test_a_wrong_field_is_named_and_nothing_is_written(
    live: LiveApp, fields: dict[str, Any], pointer: str, fault: str
) -> None:
    with live.writes() as writes:
        reply = live.call("POST", JOBS, note_job(**fields))
    check_fault(reply, pointer, fault)
    assert (reply.status, writes) == (400, [])
    assert len(reply.body) < 2_000


@pytest.mark.parametrize(
    ("fields", "advice"),
    [
        ({"naem": "x"}, "did you mean 'name'?"),
        ({"steps": [{**NOTE, "tex": "x"}]}, "did you mean 'text'?"),
        ({"steps": [{**NOTE, "type": "nott"}]}, "did you mean 'note'?"),
        ({"timezone": "America/New_Yrok"}, "did you mean America/New_York?"),
        (_schedule("cron", "0 * * * *", overlapp="skip"), "did you mean 'overlap'?"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_nearest(
    live: LiveApp, fields: dict[str, Any], advice: str
) -> None:
    problem = check_problem(live.call("POST", JOBS, note_job(**fields)), 400, "invalid_request")
    assert advice in problem["errors"][0]["message"]


def test_all_faults_are_told_at_once(live: LiveApp) -> None:
    body = note_job(name=5, timezone="Mars", steps=[{**NOTE, "typ": 1}, {"type": "nope"}])
    errors = check_problem(live.call("POST", JOBS, body), 400, "invalid_request")["errors"]
    assert {error["pointer"] for error in errors} == {
        "/name",
        "/timezone",
        "/steps/0/typ",
        "/steps/1/type",
    }


def test_thousands_of_faults_are_told_briefly(live: LiveApp) -> None:
    body = note_job(steps=[{**NOTE, **{f"f{number}": 1 for number in range(9_000)}}])
    errors = check_problem(live.call("POST", JOBS, body), 400, "invalid_request")["errors"]
    assert len(errors) == 100


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/xml", "multipart/form-data; boundary=x", "json", "é", "*/*"],
)
def test_other_content_types_are_415(live: LiveApp, content_type: str) -> None:
    with live.writes() as writes:
        reply = live.call("POST", JOBS, JSON_TEXT, content_type=content_type)
    check_fault(reply, "", "unsupported_media_type", "unsupported_media_type")
    assert (reply.status, writes) == (415, [])


def test_another_charset_is_415(live: LiveApp) -> None:
    kind = "application/json; charset=utf-16"
    reply = live.call("POST", JOBS, JSON_TEXT.encode("utf-16"), content_type=kind)
    check_fault(reply, "", "unsupported_charset", "unsupported_media_type")


def test_what_is_written_would_have_been_seen(live: LiveApp) -> None:
    with live.writes() as writes:
        check_success(live.call("POST", JOBS, note_job(timezone="Pacific/Chatham")), 201)
    places = " ".join(url for _, url in writes)
    for name in ("Jobs", "Zones", "-definitions/", "-tz-pacific-chatham"):
        assert f"{live.name}{name}" in places
