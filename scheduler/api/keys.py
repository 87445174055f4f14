"""API keys over HTTP: create, list, revoke."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from scheduler.api.body import pointer
from scheduler.api.faults import Faults, did_you_mean
from scheduler.api.job_wire import Instant, Name
from scheduler.api.wire_model import note_faults
from scheduler.clock import Clock
from scheduler.jobs.model import Json
from scheduler.security.audit import AuditLog, Caller
from scheduler.security.keys import ApiKey, KeyStore
from scheduler.security.principals import EVERY_STEP_TYPE, Role
from steps.registry import Registry


class KeyBody(BaseModel):
    """What a new key may do.

    `step_types` is asked for where it matters: a viewer runs nothing, so none is its default; an
    administrator can make any key, so all is; an operator's and an author's must be given.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    name: Name
    role: Role
    step_types: list[str] | None = Field(None, max_length=100)
    expires_at: Instant | None = None


class Keys:
    """The use cases of `/api/v2/keys`; each is for administrators, which the endpoint checks."""

    def __init__(
        self, store: KeyStore, *, audit: AuditLog, clock: Clock, registry: Registry
    ) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._registry = registry

    async def create(self, document: Mapping[str, Json], caller: Caller) -> dict[str, Any]:
        """Makes a key; the reply alone ever holds its text, as `key`.

        Raises:
            InvalidRequest: naming each fault.
            Misconfigured: `SCHEDULER_KEY_PEPPER` is missing.
            StorageUnavailable: storage cannot be reached.
        """
        body = parse_key(document, now=self._clock.now(), registry=self._registry)
        key, text = await self._store.create(
            name=body.name,
            role=body.role,
            step_types=frozenset(body.step_types or ()),
            expires_at=body.expires_at,
            created_by=caller.principal.id if caller.principal else "",
        )
        await self._audit.record(caller, "create_key", f"key:{key.id}")
        message = "keep the key in a safe place now: it is not shown again"
        return {"message": message, "key": text, **self._shown(key)}

    async def list(self) -> dict[str, Any]:
        """Every key, without its text, oldest first.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        keys = [self._shown(key) for key in await self._store.all()]
        return {"keys": keys, "count": len(keys)}

    async def revoke(self, key_id: str, caller: Caller) -> dict[str, Any]:
        """Ends a key for good; doing it again changes nothing.

        Raises:
            NotFound: `key_not_found`.
            StorageUnavailable: storage cannot be reached.
        """
        key = await self._store.revoke(key_id)
        await self._audit.record(caller, "revoke_key", f"key:{key.id}")
        message = f"the key {key.id} is revoked; other instances follow within 30 seconds"
        return {"message": message, **self._shown(key)}

    def _shown(self, key: ApiKey) -> dict[str, Any]:
        return {
            "key_id": key.id,
            "name": key.name,
            "role": key.role.value,
            "step_types": sorted(key.step_types),
            "status": _status(key, self._clock.now()),
            "created_at": key.created_at,
            "created_by": key.created_by,
            "expires_at": key.expires_at,
            "last_used_at": key.last_used_at,
            "revoked_at": key.revoked_at,
        }


def parse_key(document: Mapping[str, Json], *, now: datetime, registry: Registry) -> KeyBody:
    """Reads the body of a new key, its step types filled in; a field that is null counts as absent.

    Raises:
        InvalidRequest: with all faults.
    """
    given = {name: value for name, value in document.items() if value is not None}
    faults = Faults()
    _check_step_types(given, registry, faults)
    body = note_faults(KeyBody, given, "a key", faults)
    if body is not None and body.expires_at is not None and body.expires_at <= now:
        faults.add("/expires_at", "in_the_past", "must be in the future")
    faults.check()
    if body is None:
        raise AssertionError("a body without faults is a body")
    if body.step_types is None:
        default = [EVERY_STEP_TYPE] if body.role is Role.ADMIN else []
        body = body.model_copy(update={"step_types": default})
    return body


def _check_step_types(given: Mapping[str, Json], registry: Registry, faults: Faults) -> None:
    known = [*registry.names, EVERY_STEP_TYPE]
    named = given.get("step_types")
    if named is None and given.get("role") in (Role.OPERATOR, Role.AUTHOR):
        message = f'is required for this role: name step types, such as ["{known[0]}"], or ["*"]'
        faults.add("/step_types", "missing", message)
    for place, word in enumerate(named if isinstance(named, list) else ()):
        if isinstance(word, str) and word not in known:
            hint = did_you_mean(word, known) or f"; the known ones are {', '.join(known)}"
            message = f"there is no step type {word[:64]!r}{hint}"
            faults.add(pointer("/step_types", place), "unknown_step_type", message)


def _status(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "active" if key.is_valid(now) else "expired"
