from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.dispatch.ids import (
    SHARDS,
    ExecutionId,
    key_of,
    manual_id,
    parse_execution_id,
    scheduled_id,
    shard_of,
)
from scheduler.storage.keys import after, from_sortable, inverted, sortable

NOW = datetime(2026, 11, 23, 2, 0, 5, tzinfo=UTC)
job_ids = st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True)
seconds = st.datetimes(
    datetime(1970, 1, 2),
    datetime(2200, 1, 1),
    timezones=st.just(UTC),
)


@given(job_ids, seconds)
def test_an_id_tells_its_job_and_its_time(job_id: str, instant: datetime) -> None:
    whole = instant.replace(microsecond=0)
    for made in (scheduled_id(job_id, instant), manual_id(job_id, instant)):
        key = parse_execution_id(made)
        assert key is not None
        assert (key.execution_id, key.job_id, key.time) == (made, job_id, whole)


def test_the_scheduled_id_of_an_instant_is_the_same_in_every_zone() -> None:
    kathmandu = timezone(timedelta(hours=5, minutes=45))
    assert scheduled_id("job", NOW) == scheduled_id("job", NOW.astimezone(kathmandu))
    assert scheduled_id("job", NOW) == "job.20261123T020005Z"


def test_two_manual_runs_of_one_second_have_different_ids() -> None:
    assert len({manual_id("job", NOW) for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "job",
        "job.",
        ".20261123T020005Z",
        "job.20261123T020005",
        "job.20261123T020005Z ",
        "job.20261123T020005Z\n",
        "job.20261323T020005Z",
        "job.20261123T240005Z",
        "job.20261123T020005Z-xyz",
        "job.20261123T020005Z-0123456",
        "job.20261123T020005Z.b",
        "a/b.20261123T020005Z",
        "j" * 65 + ".20261123T020005Z",
        "job.\u0662\u0660261123T020005Z",
        "jöb.20261123T020005Z",
    ],
)
def test_what_is_no_execution_id_is_none(text: str) -> None:
    assert parse_execution_id(text) is None
    with pytest.raises(ValueError, match="not an execution id"):
        key_of(ExecutionId(text))


@pytest.mark.parametrize("rest", ["", "-01234567", ".b1", ".b12345"])
def test_scheduled_manual_and_backfilled_runs_have_ids(rest: str) -> None:
    assert parse_execution_id(f"job.20261123T020005Z{rest}") is not None


@given(st.lists(seconds, min_size=2, max_size=6, unique=True))
def test_the_rows_of_later_runs_come_first(instants: list[datetime]) -> None:
    whole = sorted({one.replace(microsecond=0) for one in instants})
    keys = [key_of(scheduled_id("job", one)) for one in whole]
    assert sorted(key.run_row for key in keys) == [key.run_row for key in reversed(keys)]


@given(st.integers(0, 99), st.integers(0, 99))
def test_the_rows_of_steps_are_in_the_order_of_the_steps(one: int, other: int) -> None:
    key = key_of(scheduled_id("job", NOW))
    assert (key.step_row(one) < key.step_row(other)) == (one < other)
    assert key.step_rows <= key.step_row(one) < after(key.step_rows)


@given(seconds, seconds)
def test_sortable_and_inverted_texts_sort_as_instants_do(one: datetime, other: datetime) -> None:
    assert (sortable(one) < sortable(other)) == (one < other)
    assert (inverted(one) > inverted(other)) == (one < other)
    assert from_sortable(sortable(one)) == one


def test_jobs_spread_over_all_shards() -> None:
    assert {shard_of(f"job-{number}") for number in range(400)} == set(SHARDS)
