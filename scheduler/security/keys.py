"""API keys: made once, shown once, stored as HMAC-SHA-256 under the pepper, cached for seconds."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.errors import ConflictingWrite, Misconfigured, NotFound, StorageUnavailable
from scheduler.security.principals import Principal, Role
from scheduler.storage.tables import Insert, Merge, Row, Table, Value
from scheduler.telemetry import get_logger

PARTITION = "keys"
CACHE_FOR = timedelta(seconds=30)
NOTE_USE_EVERY = timedelta(minutes=5)
_ID_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH = 8
_ID = re.compile(r"[a-z0-9]{8}")
_KEY = re.compile(r"jsk_([a-z0-9]{8})_[A-Za-z0-9_-]{43}")

log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A stored key: all that is known of it but its text. Instants are aware, in UTC."""

    id: str
    name: str
    role: Role
    step_types: frozenset[str]
    created_at: datetime
    created_by: str
    digest: str = field(repr=False)
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def principal(self) -> Principal:
        """The caller that this key stands for."""
        return Principal(self.id, self.name, self.role, self.step_types)

    def is_valid(self, now: datetime) -> bool:
        """Whether the key opens anything at this instant."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class KeyStore:
    """The keys of this scheduler, in the table `Keys`."""

    def __init__(self, table: Table, *, pepper: str | None, clock: Clock) -> None:
        self._table = table
        self._pepper = pepper
        self._clock = clock
        self._cache: dict[str, tuple[datetime, ApiKey]] = {}
        self._revocations = 0

    async def create(
        self,
        *,
        name: str,
        role: Role,
        step_types: frozenset[str],
        expires_at: datetime | None,
        created_by: str,
    ) -> tuple[ApiKey, str]:
        """Makes a key; its text, the second value, is in no other place than this reply.

        Raises:
            Misconfigured: `SCHEDULER_KEY_PEPPER` is missing.
            StorageUnavailable: storage cannot be reached.
        """
        key_id = "".join(secrets.choice(_ID_ALPHABET) for _ in range(_ID_LENGTH))
        text = f"jsk_{key_id}_{secrets.token_urlsafe(32)}"
        key = ApiKey(
            id=key_id,
            name=name,
            role=role,
            step_types=step_types,
            created_at=self._clock.now(),
            created_by=created_by,
            digest=self._digest(text),
            expires_at=expires_at,
        )
        await self._table.commit(PARTITION, [Insert(key_id, _values(key))])
        return key, text

    async def find(self, text: str) -> ApiKey | None:
        """The valid key with this text; None for one that is unknown, expired or revoked.

        Raises:
            Misconfigured: `SCHEDULER_KEY_PEPPER` is missing.
            StorageUnavailable: storage cannot be reached, and the key is not in the cache.
        """
        match = _KEY.fullmatch(text)
        if match is None:
            return None
        digest = self._digest(text)
        key = await self._get(match[1])
        if key is None or not hmac.compare_digest(key.digest, digest):
            return None
        if not key.is_valid(self._clock.now()):
            return None
        await self._note_use(key)
        return key

    async def all(self) -> list[ApiKey]:
        """Every key, revoked and expired ones too, oldest first.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        keys = [_key(row) async for row in self._table.query(PARTITION, "", "~")]
        return sorted(keys, key=lambda key: (key.created_at, key.id))

    async def revoke(self, key_id: str) -> ApiKey:
        """Ends a key for good: at once in this process, within 30 s in others.

        Raises:
            NotFound: there is no such key.
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._table.get(PARTITION, key_id) if _ID.fullmatch(key_id) else None
        if row is None:
            raise NotFound(f"there is no key with the id {key_id[:64]!r}", code="key_not_found")
        key = _key(row)
        if key.revoked_at is None:
            key = replace(key, revoked_at=self._clock.now())
            change = Merge(key_id, {"revoked_at": key.revoked_at}, None)
            await self._table.commit(PARTITION, [change])
        self._revocations += 1
        self._cache.pop(key_id, None)
        return key

    def _digest(self, text: str) -> str:
        if not self._pepper:
            raise Misconfigured(
                "the app setting SCHEDULER_KEY_PEPPER is missing; set it to a random text of at "
                'least 16 characters: python -c "import secrets; print(secrets.token_urlsafe(32))"'
            )
        return hmac.new(self._pepper.encode(), text.encode(), hashlib.sha256).hexdigest()

    async def _get(self, key_id: str) -> ApiKey | None:
        now = self._clock.now()
        cached = self._cache.get(key_id)
        if cached is not None and now - cached[0] < CACHE_FOR:
            return cached[1]
        revocations = self._revocations
        row = await self._table.get(PARTITION, key_id)
        if row is None:
            return None
        key = _key(row)
        # What was read before a revocation in this process must not outlive it.
        if revocations == self._revocations:
            self._cache[key_id] = (now, key)
        return key

    async def _note_use(self, key: ApiKey) -> None:
        now = self._clock.now()
        if key.last_used_at is not None and now - key.last_used_at < NOTE_USE_EVERY:
            return
        cached = self._cache.get(key.id)
        if cached is not None:
            self._cache[key.id] = (cached[0], replace(cached[1], last_used_at=now))
        try:
            await self._table.commit(PARTITION, [Merge(key.id, {"last_used_at": now}, None)])
        except (ConflictingWrite, StorageUnavailable) as error:
            log.warning(
                "the last use of a key was not noted: %s",
                error.message,
                extra={"action": "note_key_use", "principal": key.id},
            )


def _values(key: ApiKey) -> Mapping[str, Value]:
    return {
        "v": 1,
        "name": key.name,
        "role": key.role.value,
        "step_types": ",".join(sorted(key.step_types)),
        "digest": key.digest,
        "created_at": key.created_at,
        "created_by": key.created_by,
        "expires_at": key.expires_at,
    }


def _key(row: Row) -> ApiKey:
    values = row.values
    return ApiKey(
        id=row.key,
        name=str(values["name"]),
        role=Role(str(values["role"])),
        step_types=frozenset(filter(None, str(values.get("step_types") or "").split(","))),
        digest=str(values["digest"]),
        created_at=_instant(values, "created_at") or datetime.min,
        created_by=str(values.get("created_by") or ""),
        expires_at=_instant(values, "expires_at"),
        last_used_at=_instant(values, "last_used_at"),
        revoked_at=_instant(values, "revoked_at"),
    )


def _instant(values: Mapping[str, Value], name: str) -> datetime | None:
    value = values.get(name)
    return value if isinstance(value, datetime) else None
