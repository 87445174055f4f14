import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.api.job_body import parse_job
from scheduler.api.job_view import job_document
from scheduler.api.merge_patch import merge_patch
from scheduler.errors import InvalidRequest
from scheduler.jobs.model import Job
from steps.registry import Registry

REGISTRY = Registry.discover()
NOW = datetime(2026, 11, 23, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0{"), max_size=20)
names = st.from_regex(
    r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]{0,5}[a-zA-Zéß漢]",
    fullmatch=True,
)
seconds = st.integers(1, 3_600) | st.floats(1, 3_600)
scalars = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts
json_values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3)
)
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(datetime(1971, 1, 1), datetime(2900, 1, 1), timezones=offsets).map(
    datetime.isoformat
)


def optional(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def steps(draw: st.DrawFn) -> list[dict[str, Any]]:
    ids = draw(
        st.lists(st.from_regex(r"[A-Za-z_]\w{0,8}", fullmatch=True), unique=True, min_size=1)
    )
    ids = [word for word in ids if word.isascii()] or ["only"]
    result: list[dict[str, Any]] = []
    for place, step_id in enumerate(ids[:5]):
        config = {"query": draw(st.sampled_from(["select ?", "select :p", "select 1"]))}
        if config["query"] != "select 1":
            value = draw(scalars)
            bound: Any = [value] if "?" in config["query"] else {"p": value}
            config["parameters"] = bound
        step = draw(
            optional(
                name=names,
                timeout=st.integers(1, 6_900) | st.floats(1, 6_900),
                max_retries=st.integers(0, 20),
                retry_delay=seconds,
                continue_on_failure=st.booleans(),
                on_interrupt=st.sampled_from(["retry", "fail"]),
                run_if=st.sampled_from(["success", "always"]),
                depends_on=st.lists(st.sampled_from(ids[:place]), unique=True)
                if place
                else st.just([]),
                publish=st.lists(st.sampled_from(["a", "b"]), max_size=2),
            )
        )
        spread = draw(st.booleans())
        result.append(
            {"id": step_id, "type": "sql", **step, **(config if spread else {"config": config})}
        )
    return result


expressions = st.one_of(
    st.tuples(st.just("cron"), st.sampled_from(["*/5 * * * *", "@daily", "0 30 2 * * 1"])),
    st.tuples(st.just("interval"), st.sampled_from(["1d 2h", "PT90S"])),
    st.tuples(st.just("once"), st.sampled_from(["2027-03-14T02:30:00", "2027-01-01T00:00:00Z"])),
)


@st.composite
def schedules(draw: st.DrawFn) -> dict[str, Any]:
    kind, expression = draw(expressions)
    policies = draw(
        optional(
            jitter_seconds=st.integers(0, 3_600),
            catch_up=st.sampled_from(["latest", "all", "none"]),
            catch_up_window_seconds=st.integers(0, 604_800),
            overlap=st.sampled_from(["skip", "allow", "queue"]),
        )
    )
    bounds = {}
    if kind == "interval":
        bounds = draw(optional(anchor=instants))
    if kind == "cron":
        bounds = draw(optional(start_at=instants))
    return {"type": kind, "expression": expression, **policies, **bounds}


notifications = st.fixed_dictionaries(
    {"webhook": st.sampled_from(["https://example.org/a?b=c", "http://x"])},
    optional={"headers": st.dictionaries(st.just("X-A"), st.just("b")), "body": json_values},
)

jobs = st.fixed_dictionaries(
    {"name": names, "steps": steps()},
    optional={
        "id": st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
        "description": texts,
        "timezone": st.sampled_from(["UTC", "asia/kathmandu", "US/Eastern", "Etc/GMT+5"]),
        "enabled": st.booleans(),
        "schedule": schedules(),
        "max_retries": st.integers(0, 20),
        "retry_delay": seconds,
        "timeout_seconds": st.integers(1, 604_800),
        "max_parallel": st.integers(1, 50),
        "priority": st.integers(0, 9),
        "on_failure": notifications,
        "on_success": notifications,
        "on_late": notifications,
        "tags": st.lists(st.from_regex(r"[a-z]{1,9}", fullmatch=True), max_size=5),
        "metadata": st.dictionaries(texts, json_values, max_size=3),
    },
)


def parse(document: dict[str, Any], now: datetime = NOW) -> Job:
    return parse_job(document, registry=REGISTRY, now=now, new_id=lambda: "made")


@settings(max_examples=60)
@given(jobs)
def test_a_job_that_is_shown_and_sent_back_is_the_same(document: dict[str, Any]) -> None:
    job = parse(document)
    shown = json.loads(json.dumps(job_document(job)))
    again = parse(shown, now=NOW + timedelta(days=400))
    assert again == job
    assert again.to_json() == job.to_json()
    assert job_document(again) == job_document(job)


@settings(max_examples=60)
@given(jobs)
def test_a_job_that_is_stored_and_read_is_the_same(document: dict[str, Any]) -> None:
    job = parse(document)
    assert Job.from_json(job.to_json()) == job


@settings(max_examples=60)
@given(jobs, texts, st.integers(0, 9))
def test_a_patch_changes_what_it_names_and_nothing_else(
    document: dict[str, Any], description: str, priority: int
) -> None:
    job = parse(document)
    patch = {"description": description, "priority": priority, "on_late": None}
    patched = parse(merge_patch(job_document(job), patch))
    assert patched == replace(job, description=description, priority=priority, on_late=None)


junk = st.recursive(
    scalars | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["name", "steps", "id", "type", "config", "query", "schedule", "expression", "x"]
            ),
            inner,
            max_size=5,
        )
    ),
)


@settings(max_examples=60)
@given(jobs, st.dictionaries(st.sampled_from(["name", "steps", "schedule", "on_late", "y"]), junk))
def test_any_json_is_a_job_or_a_list_of_faults(
    document: dict[str, Any], change: dict[str, Any]
) -> None:
    try:
        parse({**document, **change})
    except InvalidRequest as refusal:
        assert all(fault.pointer.startswith("/") for fault in refusal.errors)
        assert all(fault.code and fault.message for fault in refusal.errors)
