from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.dispatch.ids import ExecutionId, Trigger, manual_id, scheduled_id
from scheduler.execution.records import RUN_INSTANTS, run_columns, run_of, step_columns, step_of
from scheduler.execution.rules.model import Attempt, CancelRequest, Run, StepRecord, StepState
from scheduler.execution.rules.states import RunState, StepStatus
from scheduler.execution.snapshot import MAX_CHARACTERS, run_in, snapshot_of
from scheduler.execution.store import Stored
from scheduler.jobs.model import Overlap, StepId
from scheduler.storage.tables import MAX_PROPERTY_CHARACTERS, Row, Value

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)

instants = st.datetimes(
    datetime(1970, 1, 2),
    datetime(2999, 1, 1),
    timezones=st.just(UTC),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=50)
step_ids = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,63}", fullmatch=True).map(StepId)
json_objects = st.dictionaries(texts, st.none() | st.booleans() | st.integers() | texts, max_size=4)
step_states = st.builds(
    StepState,
    id=step_ids,
    status=st.sampled_from(StepStatus),
    attempt=st.integers(0, 30),
    failures=st.integers(0, 20),
    interruptions=st.integers(0, 3),
    fence=st.none() | texts,
    wake_at=st.none() | instants,
    sent=st.booleans(),
)
runs = st.builds(
    Run,
    execution_id=st.builds(scheduled_id, st.just("job"), instants),
    job_name=texts,
    timezone=st.sampled_from(["UTC", "Asia/Kathmandu"]),
    definition=texts,
    trigger=st.sampled_from(Trigger),
    scheduled_time=instants,
    created_at=instants,
    deadline=instants,
    progress_at=instants,
    steps=st.lists(step_states, max_size=5).map(tuple),
    state=st.sampled_from(RunState),
    start_time=st.none() | instants,
    end_time=st.none() | instants,
    overlap=st.sampled_from(Overlap),
    priority=st.integers(0, 9),
    holds_current=st.booleans(),
    slot=st.none() | texts,
    slot_etag=st.none() | texts,
    counted_from=st.none() | instants,
    cancel=st.none() | st.builds(CancelRequest, at=instants, by=texts, reason=st.just("") | texts),
    message=st.just("") | texts,
    requested_by=st.just("") | texts,
    inline=st.booleans(),
)
attempts = st.builds(
    Attempt,
    number=st.integers(1, 30),
    outcome=texts,
    start_time=instants,
    end_time=st.none() | instants,
    error_code=st.none() | texts,
    error_message=st.none() | texts,
)
step_records = st.builds(
    StepRecord,
    id=step_ids,
    name=texts,
    type=texts,
    status=st.sampled_from(StepStatus),
    attempts=st.lists(attempts, max_size=4).map(tuple),
    fence=st.none() | texts,
    lease_until=st.none() | instants,
    start_time=st.none() | instants,
    end_time=st.none() | instants,
    output=st.none() | texts,
    output_truncated=st.booleans(),
    output_blob=st.none() | texts,
    error_code=st.none() | texts,
    error_message=st.none() | texts,
    metadata=json_objects,
)


def stored(columns: dict[str, Value]) -> Row:
    """The row that storage gives back: what is None is not kept."""
    kept = {name: value for name, value in columns.items() if value is not None}
    return Row("partition", "key", kept, "etag")


@settings(max_examples=100, deadline=None)
@given(runs)
def test_a_run_row_gives_back_the_run(run: Run) -> None:
    assert run_of(stored(run_columns(run))) == run


@settings(max_examples=100, deadline=None)
@given(step_records)
def test_a_step_row_gives_back_the_record(record: StepRecord) -> None:
    assert step_of(stored(step_columns(record))) == record


def test_a_run_row_written_before_later_fields_existed_is_read_with_their_defaults() -> None:
    run = _run((StepState(id=StepId("one")),))
    later = ("overlap", "priority", "holds_current", "slot", "slot_etag", "message", "inline")
    old = {name: value for name, value in run_columns(run).items() if name not in later}
    assert run_of(stored(old)) == run


def test_a_hundred_steps_with_the_longest_ids_fit_into_the_run_row() -> None:
    steps = tuple(
        StepState(
            id=StepId(f"s{number:063d}"),
            status=StepStatus.RETRYING,
            attempt=21,
            failures=20,
            interruptions=3,
            wake_at=NOW + timedelta(microseconds=1),
        )
        for number in range(100)
    )
    columns: dict[str, Any] = run_columns(_run(steps))
    assert len(columns["steps"]) <= MAX_PROPERTY_CHARACTERS
    assert run_of(stored(columns)).steps == steps


def _run(steps: tuple[StepState, ...]) -> Run:
    execution_id: ExecutionId = manual_id("job", NOW)
    return Run(
        execution_id=execution_id,
        job_name="job",
        timezone="UTC",
        definition="d",
        trigger=Trigger.MANUAL,
        scheduled_time=NOW,
        created_at=NOW,
        deadline=NOW,
        progress_at=NOW,
        steps=steps,
    )


@given(runs)
def test_a_run_row_that_a_message_carries_is_read_back_as_it_was(run: Run) -> None:
    text = snapshot_of(run)
    if text is not None:
        assert len(text) <= MAX_CHARACTERS
        assert run_in(text, "version") == Stored(run, "version")


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "{}", '{"execution_id": 1}', "null"])
def test_a_run_row_that_cannot_be_read_from_its_message_is_none(text: str) -> None:
    assert run_in(text, "version") is None


@given(runs.filter(lambda run: snapshot_of(run) is not None), st.data())
def test_a_garbled_run_row_of_a_message_is_none_or_a_run(run: Run, data: st.DataObject) -> None:
    text = str(snapshot_of(run))
    place = data.draw(st.integers(0, len(text) - 1))
    garbled = text[:place] + data.draw(texts) + text[place + 1 :]
    found = run_in(garbled, "version")
    assert found is None or isinstance(found.value, Run)


def test_the_instants_of_a_run_row_are_all_known_to_the_reader_of_messages() -> None:
    times = {field.name for field in fields(Run) if "datetime" in str(field.type)}
    assert times == RUN_INSTANTS
