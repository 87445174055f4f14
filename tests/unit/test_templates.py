from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.jobs.templates import (
    DEEPEST,
    LONGEST_TEXT,
    TemplateError,
    TemplateValues,
    check,
    refuse,
    render,
)

VALUES = TemplateValues(
    scheduled_time=datetime(2027, 3, 14, 7, tzinfo=UTC),
    now=datetime(2027, 3, 14, 7, 0, 2, 33, tzinfo=UTC),
    execution_id="nightly.20270314T070000Z",
    job_id="nightly",
    job_name="Nightly clean-up",
    timezone="America/New_York",
    attempt=2,
)


@pytest.mark.parametrize(
    ("text", "rendered"),
    [
        ("{{today}}", "2027-03-14"),
        ("{{yesterday}}..{{tomorrow}}", "2027-03-13..2027-03-15"),
        ("{{today-1d}}", "2027-03-13"),
        ("{{ today + 2w }}", "2027-03-28"),
        ("{{today:%Y%m%d}}", "20270314"),
        ("{{today-1d:%d.%m.%Y}}", "13.03.2027"),
        ("{{yesterday:%A, %%}}", "Saturday, %"),
        ("{{now}}", "2027-03-14T03:00:02-04:00"),
        ("{{scheduled_time}}", "2027-03-14T03:00:00-04:00"),
        ("{{scheduled_time-1d}}", "2027-03-13T03:00:00-05:00"),
        ("{{scheduled_time-24h}}", "2027-03-13T02:00:00-05:00"),
        ("{{scheduled_time+90m:%H:%M}}", "04:30"),
        ("{{now:%z %:z %Z}}", "-0400 -04:00 EDT"),
        ("{{job_id}}/{{job_name}}", "nightly/Nightly clean-up"),
        ("{{execution_id}}", "nightly.20270314T070000Z"),
        ("{{timezone}}", "America/New_York"),
        ("try {{attempt}}", "try 2"),
        ("{{{{today}}", "{{today}}"),
        ("{{{{{{today}}", "{{2027-03-14"),
        ("no template, } or {", "no template, } or {"),
        ("}}", "}}"),
        ("", ""),
    ],
)
def test_a_template_is_rendered(text: str, rendered: str) -> None:
    assert check(text, "") == []
    assert render(text, VALUES) == rendered


def test_an_attempt_alone_is_a_number() -> None:
    assert render("{{attempt}}", VALUES) == 2
    assert type(render("{{attempt}}", VALUES)) is int


def test_values_are_rendered_wherever_they_stand_and_all_else_is_kept() -> None:
    value = {"a": ["{{today}}", 1, None, True, 2.5], "{{today}}": {"b": "{{job_id}}"}}
    assert render(value, VALUES) == {
        "a": ["2027-03-14", 1, None, True, 2.5],
        "{{today}}": {"b": "nightly"},
    }


def test_dates_are_those_of_the_scheduled_instant_in_the_jobs_zone() -> None:
    late = replace(
        VALUES,
        scheduled_time=datetime(2026, 12, 31, 18, 30, tzinfo=UTC),
        now=datetime(2027, 1, 2, tzinfo=UTC),
        timezone="Asia/Kathmandu",
    )
    assert render("{{today}} {{now:%d}}", late) == "2027-01-01 02"


def test_a_day_before_may_be_a_wall_time_that_a_clock_change_skips() -> None:
    day_after = replace(VALUES, scheduled_time=datetime(2027, 3, 15, 6, 30, tzinfo=UTC))
    assert render("{{scheduled_time-1d}}", day_after) == "2027-03-14T03:30:00-04:00"


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("x {{toady}}", "unknown_template", "column 3: 'toady' is not known; did you mean today?"),
        ("{{Today}}", "unknown_template", "did you mean today?"),
        ("{{zzz}}", "unknown_template", "write one of today, yesterday"),
        ("{{}}", "unknown_template", "write one of"),
        ("{{secret:db}}", "unknown_template", "references to secrets"),
        ("{{steps.load}}", "invalid_template", "write {{steps.<id>.<value>}}"),
        ("{{steps.load.rows:%Y}}", "invalid_template", "write {{steps.<id>.<value>}}"),
        ("{{today", "invalid_template", "'{{' is not closed"),
        ("{{today-1}}", "invalid_template", "write {{today-1d}} or {{today:%Y%m%d}}"),
        ("{{today-1h}}", "invalid_template", "an offset of today has a unit of w, d"),
        ("{{today-9999w}}", "invalid_template", "an offset is at most 36600d"),
        ("{{attempt:%Y}}", "invalid_template", "takes no offset and no format"),
        ("{{job_id+1d}}", "invalid_template", "takes no offset and no format"),
        ("{{attempt + 1}}", "invalid_template", "write {{attempt}}"),
        ("{{today:}}", "invalid_template", "a format has 1 to 64 printable"),
        ("{{today:" + "x" * 65 + "}}", "invalid_template", "a format has 1 to 64 printable"),
        ("{{today:\ud800}}", "invalid_template", "printable"),
        ("{{today:%}}", "invalid_template", "'%' is not a directive"),
        ("{{today:%s}}", "invalid_template", "'%s' is not a directive of a date"),
        ("{{today:%z}}", "invalid_template", "'%z' is not a directive of a date"),
        ("{{now:%-d}}", "invalid_template", "'%-' is not a directive of a time"),
        ("{{today.__class__}}", "invalid_template", "cannot be read"),
        ("{{today}}" + "x" * LONGEST_TEXT, "invalid_template", "limited to 65536 bytes"),
    ],
)
def test_a_fault_names_the_column_and_the_remedy(text: str, code: str, said: str) -> None:
    (fault,) = check(text, "/steps/0/parameters")
    assert (fault.pointer, fault.code) == ("/steps/0/parameters", code)
    assert said in fault.message
    with pytest.raises(TemplateError):
        render(text, VALUES)


def test_faults_point_at_their_place() -> None:
    value = {"a/b": ["{{today}}", "{{x}}"], "c~d": {"e": "{{"}, "f": 1}
    assert [fault.pointer for fault in check(value, "/p")] == ["/p/a~1b/1", "/p/c~0d/e"]


def test_a_value_nested_too_deeply_is_refused() -> None:
    value: Any = "{{today}}"
    for _ in range(DEEPEST):
        value = [value]
    assert check(value, "") == []
    (fault,) = check([value], "/p")
    assert fault.code == "invalid_template"


def test_long_text_without_a_template_is_left_alone() -> None:
    text = "x" * (2 * LONGEST_TEXT)
    assert check(text, "") == []
    assert render(text, VALUES) is text


def test_templates_are_refused_where_they_would_not_be_rendered() -> None:
    faults = refuse({"query": "select '{{today-1d}}'", "other": "{{ x }} {{{{today}}"}, "/config")
    assert [(fault.pointer, fault.code) for fault in faults] == [
        ("/config/query", "template_not_allowed")
    ]
    assert refuse("select {{secret:x}}", "/q")
    assert refuse("select {{steps.a.b}}", "/q")


@given(st.text())
def test_escaped_text_comes_back_as_it_was(text: str) -> None:
    escaped = text.replace("{{", "{{{{")
    assert check(escaped, "") == []
    assert render(escaped, VALUES) == text


@given(st.text(alphabet="{}today-+1dhw:%Y attempt\n", max_size=30))
def test_whatever_passes_the_check_can_be_rendered(text: str) -> None:
    if check(text, ""):
        with pytest.raises(TemplateError):
            render(text, VALUES)
    else:
        assert isinstance(render(text, VALUES), str | int)


@given(days=st.integers(-36_600, 36_600))
def test_an_offset_in_days_moves_the_date_by_so_many(days: int) -> None:
    moved = datetime(2027, 3, 14).date() + timedelta(days=days)
    assert render(f"{{{{today{days:+d}d}}}}", VALUES) == moved.isoformat()
