import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.errors import NotAuthenticated, StorageUnavailable
from scheduler.security.audit import AuditLog, Caller
from scheduler.security.principals import Principal, Role
from scheduler.settings import Settings
from scheduler.storage.account import Storage
from scheduler.storage.tables import Row, Table

NOWHERE = (
    "DefaultEndpointsProtocol=http;AccountName=x;AccountKey=eA==;BlobEndpoint=http://127.0.0.1:1/x;"
    "QueueEndpoint=http://127.0.0.1:1/x;TableEndpoint=http://127.0.0.1:1/x;"
)
CALLER = Caller(Principal("abcd1234", "nightly", Role.AUTHOR), "192.0.2.7:4711", "t" * 32)


class HandSet:
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 23, 59, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
async def table(azurite: str, scheduler_name: str) -> AsyncIterator[Table]:
    storage = Storage(
        Settings.load({"AzureWebJobsStorage": azurite, "SCHEDULER_NAME": scheduler_name})
    )
    yield storage.audit
    await storage.close()


async def entries(table: Table, day: str) -> list[Row]:
    return [row async for row in table.query(day, "", "~")]


async def test_an_entry_tells_who_did_what_to_which_object_from_where(table: Table) -> None:
    await AuditLog(table, HandSet()).record(CALLER, "delete_job", "job:nightly")
    (row,) = await entries(table, "20261123")
    assert {**row.values, "op": ""} == {
        "v": 1,
        "op": "",
        "at": HandSet().now(),
        "actor": "abcd1234",
        "actor_name": "nightly",
        "role": "author",
        "audit_action": "delete_job",
        "target": "job:nightly",
        "result": "ok",
        "code": "",
        "address": "192.0.2.7:4711",
        "trace_id": "t" * 32,
    }


async def test_a_refusal_is_kept_with_its_code_even_of_an_unknown_caller(table: Table) -> None:
    audit = AuditLog(table, HandSet())
    await audit.record(
        Caller(None), "list_keys", "GET /" + "x" * 5_000, refused="not_authenticated"
    )
    (row,) = await entries(table, "20261123")
    assert (row.values["result"], row.values["code"]) == ("refused", "not_authenticated")
    assert row.values["actor"] == ""
    assert len(str(row.values["target"])) == 1_000


async def test_a_flood_of_unknown_callers_is_one_row_a_minute_for_each_action_and_reason(
    table: Table,
) -> None:
    clock = HandSet()
    clock.time -= timedelta(hours=1)
    audit = AuditLog(table, clock)
    missing, wrong = NotAuthenticated("no key"), NotAuthenticated("a wrong key")

    async def flood(calls: int) -> None:
        for number in range(calls):
            caller = Caller(None, f"192.0.2.{number}")
            await audit.record_unknown(caller, "read_job", f"GET /{number}", missing)
            await audit.record_unknown(caller, "read_job", f"GET /{number}", wrong)
            await audit.record_unknown(caller, "list_jobs", f"GET /{number}", missing)

    await flood(50)
    rows = await entries(table, "20261123")
    assert [row.values["target"] for row in rows] == ["GET /0"] * 3
    assert {row.values["code"] for row in rows} == {"not_authenticated"}
    assert all("left_out" not in row.values for row in rows)
    clock.time += timedelta(seconds=61)
    await flood(2)
    newest = (await entries(table, "20261123"))[:3]
    assert [row.values["left_out"] for row in newest] == [49, 49, 49]
    clock.time += timedelta(seconds=61)
    await flood(1)
    newest = (await entries(table, "20261123"))[:3]
    assert [row.values["left_out"] for row in newest] == [1, 1, 1]


async def test_entries_are_newest_first_by_day_and_none_hides_another(table: Table) -> None:
    clock = HandSet()
    audit = AuditLog(table, clock)
    for number in range(3):
        await audit.record(CALLER, "run_job", f"job:{number}")
        await audit.record(CALLER, "run_job", f"job:{number}")
        clock.time += timedelta(seconds=20)
    clock.time += timedelta(minutes=1)
    await audit.record(CALLER, "run_job", "job:tomorrow")
    targets = [row.values["target"] for row in await entries(table, "20261123")]
    assert targets == ["job:2", "job:2", "job:1", "job:1", "job:0", "job:0"]
    assert len(await entries(table, "20261124")) == 1


async def test_an_entry_that_cannot_be_written_goes_to_the_log_and_raises_nothing(
    scheduler_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    storage = Storage(
        Settings.load(
            {
                "AzureWebJobsStorage": NOWHERE,
                "SCHEDULER_NAME": scheduler_name,
                "SCHEDULER_STORAGE_RETRIES": "0",
            }
        )
    )
    with pytest.raises(StorageUnavailable):
        await storage.audit.get("a", "b")
    with caplog.at_level(logging.ERROR):
        await AuditLog(storage.audit, HandSet()).record(CALLER, "delete_job", "job:nightly")
    await storage.close()
    (record,) = (record for record in caplog.records if record.name == "scheduler.security.audit")
    assert vars(record)["action"] == "write_audit"
    for word in ("delete_job", "job:nightly", "abcd1234", "192.0.2.7:4711"):
        assert word in record.getMessage()
