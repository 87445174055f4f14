import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from scheduler.api.keys import Keys, parse_key
from scheduler.errors import (
    InvalidRequest,
    Misconfigured,
    NotAuthenticated,
    NotFound,
    StorageUnavailable,
)
from scheduler.security.audit import AuditLog, Caller
from scheduler.security.authentication import FIRST_ADMIN, Authenticator
from scheduler.security.keys import PARTITION, KeyStore
from scheduler.security.principals import Role
from scheduler.settings import Settings
from scheduler.storage.account import Storage
from steps.registry import Registry

NOWHERE = (
    "DefaultEndpointsProtocol=http;AccountName=x;AccountKey=eA==;BlobEndpoint=http://127.0.0.1:1/x;"
    "QueueEndpoint=http://127.0.0.1:1/x;TableEndpoint=http://127.0.0.1:1/x;"
)
PEPPER = "a-pepper-for-the-tests"
ADMIN_KEY = "the-first-admin-key"
REGISTRY = Registry.discover()
ADMIN = Caller(FIRST_ADMIN, "192.0.2.1", "trace")


class HandSet:
    """A clock whose hands the test moves."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def move(self, **amount: float) -> None:
        self.time += timedelta(**amount)


class Office:
    """The keys of one process: store, authenticator and use cases over one table."""

    def __init__(self, storage: Storage, clock: HandSet) -> None:
        self.store = KeyStore(storage.keys, pepper=PEPPER, clock=clock)
        self.authenticator = Authenticator(self.store, admin_key=ADMIN_KEY, clock=clock)
        audit = AuditLog(storage.audit, clock)
        self.keys = Keys(self.store, audit=audit, clock=clock, registry=REGISTRY)

    async def key(self, **fields: object) -> dict[str, str]:
        body = {"name": "n", "role": "operator", "step_types": ["sql"], **fields}
        return await self.keys.create(body, ADMIN)

    async def opens(self, key: str) -> bool:
        try:
            await self.authenticator.authenticate({"X-API-Key": key}, {})
        except NotAuthenticated:
            return False
        return True


@pytest.fixture
def clock() -> HandSet:
    return HandSet()


@pytest.fixture
async def storage(azurite: str, scheduler_name: str) -> AsyncIterator[Storage]:
    made = Storage(
        Settings.load({"AzureWebJobsStorage": azurite, "SCHEDULER_NAME": scheduler_name})
    )
    yield made
    await made.close()


@pytest.fixture
def office(storage: Storage, clock: HandSet) -> Office:
    return Office(storage, clock)


async def test_a_made_key_opens_as_its_principal(office: Office) -> None:
    made = await office.key(name="nightly", role="author", step_types=["sql"])
    assert made["key"].startswith(f"jsk_{made['key_id']}_")
    for headers in ({"x-api-key": made["key"]}, {"Authorization": f"bearer {made['key']}"}):
        principal = await office.authenticator.authenticate(headers, {})
        assert (principal.id, principal.name) == (made["key_id"], "nightly")
        assert (principal.role, principal.step_types) == (Role.AUTHOR, frozenset({"sql"}))


async def test_the_text_of_a_key_is_neither_stored_nor_shown_again(
    office: Office, storage: Storage
) -> None:
    made = await office.key()
    secret = made["key"].split("_", 2)[2]
    row = await storage.keys.get(PARTITION, made["key_id"])
    assert row is not None
    assert secret not in str(row)
    listed = await office.keys.list()
    assert secret not in str(listed)
    assert str(row.values["digest"]) not in str(listed) + repr(await office.store.all())


async def test_a_key_that_was_tampered_with_does_not_open(office: Office) -> None:
    made = await office.key()
    key = made["key"]
    for wrong in (key[:-1], key + "x", key.swapcase(), key[:13] + "A" * 43, "jsk_", "é" * 20):
        assert not await office.opens(wrong)
    assert await office.opens(key)


async def test_unknown_expired_and_revoked_keys_are_told_in_the_same_words(
    office: Office, clock: HandSet
) -> None:
    expiring = await office.key(expires_at=(clock.now() + timedelta(hours=1)).isoformat())
    revoked = await office.key()
    assert await office.opens(expiring["key"])
    assert await office.opens(revoked["key"])
    await office.keys.revoke(revoked["key_id"], ADMIN)
    clock.move(hours=1)
    words = set()
    for key in (expiring["key"], revoked["key"], "jsk_aaaaaaaa_" + "A" * 43, "anything"):
        with pytest.raises(NotAuthenticated) as refusal:
            await office.authenticator.authenticate({"X-API-Key": key}, {})
        words.add((refusal.value.code, refusal.value.message))
    assert len(words) == 1


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-API-Key": " "}, {"Authorization": "Basic dTpw"}, {"Authorization": "Bearer"}],
)
async def test_without_a_key_the_header_to_use_is_named(
    office: Office, headers: dict[str, str]
) -> None:
    with pytest.raises(NotAuthenticated, match="X-API-Key"):
        await office.authenticator.authenticate(headers, {})


@pytest.mark.parametrize("name", ["code", "api_key", "X-API-Key"])
async def test_a_key_in_the_query_is_refused_with_a_hint(office: Office, name: str) -> None:
    with pytest.raises(NotAuthenticated, match="does not belong into the address"):
        await office.authenticator.authenticate({"X-API-Key": ADMIN_KEY}, {name: ADMIN_KEY})


async def test_the_first_admin_key_opens_and_its_use_is_a_warning_once_a_day(
    office: Office, clock: HandSet, caplog: pytest.LogCaptureFixture
) -> None:
    async def use() -> int:
        caplog.clear()
        with caplog.at_level(logging.INFO):
            principal = await office.authenticator.authenticate({"X-API-Key": ADMIN_KEY}, {})
        assert principal is FIRST_ADMIN
        assert ADMIN_KEY not in caplog.text
        actions = [vars(record)["action"] for record in caplog.records]
        assert set(actions) <= {"use_first_admin_key"}
        assert {record.levelno for record in caplog.records} <= {logging.WARNING}
        return len(actions)

    assert [await use(), await use()] == [1, 0]
    clock.move(hours=23, minutes=59)
    assert await use() == 0
    clock.move(minutes=1)
    assert [await use(), await use()] == [1, 0]


async def test_revoking_takes_effect_at_once_here_and_within_30_seconds_elsewhere(
    storage: Storage, clock: HandSet, office: Office
) -> None:
    elsewhere = Office(storage, clock)
    made = await office.key()
    assert await office.opens(made["key"])
    assert await elsewhere.opens(made["key"])
    first = await office.keys.revoke(made["key_id"], ADMIN)
    assert not await office.opens(made["key"])
    clock.move(seconds=29)
    assert await elsewhere.opens(made["key"])
    clock.move(seconds=1)
    assert not await elsewhere.opens(made["key"])
    again = await office.keys.revoke(made["key_id"], ADMIN)
    assert again["revoked_at"] == first["revoked_at"]
    assert again["status"] == "revoked"


@pytest.mark.parametrize("key_id", ["aaaaaaaa", "a/b", "", "x" * 2000, "first-admin"])
async def test_a_key_that_is_not_there_cannot_be_revoked(office: Office, key_id: str) -> None:
    with pytest.raises(NotFound, match="no key") as refusal:
        await office.keys.revoke(key_id, ADMIN)
    assert refusal.value.code == "key_not_found"


async def test_the_last_use_is_written_every_five_minutes_at_most(
    office: Office, clock: HandSet
) -> None:
    made = await office.key()
    begin = clock.now()
    for minute in range(12):
        assert await office.opens(made["key"])
        (key,) = await office.store.all()
        assert key.last_used_at == begin + timedelta(minutes=minute // 5 * 5)
        clock.move(minutes=1)


async def test_a_cached_key_opens_while_storage_is_out_of_reach(
    scheduler_name: str, storage: Storage, clock: HandSet, office: Office
) -> None:
    made = await office.key()
    assert await office.opens(made["key"])
    unreachable = Storage(
        Settings.load(
            {
                "AzureWebJobsStorage": NOWHERE,
                "SCHEDULER_NAME": scheduler_name,
                "SCHEDULER_STORAGE_RETRIES": "0",
            }
        )
    )
    office.store._table = unreachable.keys
    assert await office.opens(made["key"])
    clock.move(minutes=1)
    with pytest.raises(StorageUnavailable):
        await office.opens(made["key"])
    await unreachable.close()


async def test_without_a_pepper_the_setting_is_named(storage: Storage, clock: HandSet) -> None:
    store = KeyStore(storage.keys, pepper=None, clock=clock)
    with pytest.raises(Misconfigured, match="SCHEDULER_KEY_PEPPER"):
        await store.find("jsk_aaaaaaaa_" + "A" * 43)


async def test_a_key_under_another_pepper_does_not_open(
    storage: Storage, clock: HandSet, office: Office
) -> None:
    made = await office.key()
    other = KeyStore(storage.keys, pepper="another-pepper-altogether", clock=clock)
    assert await other.find(made["key"]) is None


async def test_keys_are_listed_oldest_first_with_their_status(
    office: Office, clock: HandSet
) -> None:
    assert await office.keys.list() == {"keys": [], "count": 0}
    names = ["active", "expired", "revoked"]
    until = (clock.now() + timedelta(minutes=5)).isoformat()
    made = []
    for name in names:
        expires = {"expires_at": until} if name == "expired" else {}
        made.append(await office.key(name=name, **expires))
        clock.move(minutes=1)
    await office.keys.revoke(made[2]["key_id"], ADMIN)
    clock.move(minutes=5)
    listed = await office.keys.list()
    assert listed["count"] == 3
    assert [(key["name"], key["status"]) for key in listed["keys"]] == list(
        zip(names, names, strict=True)
    )
    assert {key["created_by"] for key in listed["keys"]} == {"first-admin"}


@pytest.mark.parametrize(
    ("body", "pointer", "code"),
    [
        ({"role": "viewer"}, "/name", "missing"),
        ({"name": "n"}, "/role", "missing"),
        ({"name": "n", "role": "root"}, "/role", "invalid_choice"),
        ({"name": "n", "role": "operator"}, "/step_types", "missing"),
        ({"name": "n", "role": "author", "step_types": None}, "/step_types", "missing"),
        ({"name": "n", "role": "author", "step_types": "sql"}, "/step_types", "wrong_type"),
        (
            {"name": "n", "role": "author", "step_types": ["sql", "sqll"]},
            "/step_types/1",
            "unknown_step_type",
        ),
        ({"name": "n", "role": "viewer", "rol": 1}, "/rol", "unknown_field"),
        (
            {"name": "n", "role": "viewer", "expires_at": "2026-11-23T00:00:00Z"},
            "/expires_at",
            "in_the_past",
        ),
        (
            {"name": "n", "role": "viewer", "expires_at": "2030-01-01T00:00:00"},
            "/expires_at",
            "missing_offset",
        ),
    ],
)
async def test_a_bad_key_body_is_refused_and_nothing_is_stored(
    office: Office, body: dict[str, object], pointer: str, code: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        await office.keys.create(body, ADMIN)
    assert [(fault.pointer, fault.code) for fault in refusal.value.errors] == [(pointer, code)]
    assert await office.store.all() == []


def test_step_types_default_to_none_for_viewers_and_all_for_administrators(
    clock: HandSet,
) -> None:
    def step_types(role: str) -> list[str] | None:
        return parse_key({"name": "n", "role": role}, now=clock.now(), registry=REGISTRY).step_types

    assert (step_types("viewer"), step_types("admin")) == ([], ["*"])
