"""`Idempotency-Key`: a call sent twice under one key is done once.

Before a call does its work it reserves the id of what it is going to make, under the key. The same
call again finds the id: what is there is answered as it is, and what the first try did not get to
is done then, under that very id. So two at once collide in what they make, and the reservation
need not know how far either of them has come.
"""

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from scheduler.clock import Clock
from scheduler.errors import (
    Conflict,
    ConflictingWrite,
    IdempotencyKeyReused,
    InvalidIdempotencyKey,
    StorageUnavailable,
)
from scheduler.security.principals import Principal
from scheduler.storage.contention import pauses
from scheduler.storage.keys import sortable
from scheduler.storage.tables import Change, Delete, Insert, Merge, Replace, Row, Table
from scheduler.storage.values import instant
from scheduler.telemetry import get_logger

KEPT = timedelta(hours=24)
PARTITION = "idempotency"
SWEEP_EVERY = 25
SWEPT_AT_ONCE = 50
"""Two rows each, so that they go in one transaction; twice as fast as reservations come."""
_VISIBLE = re.compile(r"[!-~]{1,200}")
_ROW = "key:"
_BY_TIME = "time:"

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Once:
    """A call that is to be done once: its caller and key, and what it asks for, both as hashes."""

    name: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Reservation:
    """What a key stands for: the ids of what its call makes, and when that was first asked for.

    `done`: it has been made; where that is not kept, False.
    """

    ids: tuple[str, ...]
    at: datetime
    done: bool
    etag: str


def once_of(principal: Principal, key: str, target: str, body: Mapping[str, Any]) -> Once:
    """The call that a key makes one; `target` is its method and path.

    A key in double quotes is the text between them. Bodies that mean the same JSON are the same.

    Raises:
        InvalidIdempotencyKey: it is empty, too long, or not in visible ASCII.
    """
    text = key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key
    if not _VISIBLE.fullmatch(text):
        raise InvalidIdempotencyKey(
            [],
            message="the header Idempotency-Key must be 1 to 200 visible ASCII characters without"
            " spaces: send a new UUID with each new call, and the same one when you repeat it",
        )
    asked = json.dumps([target, body], sort_keys=True, separators=(",", ":"))
    # Keyed by a text that is not stored: a short secret in a body must not be found by trying.
    fingerprint = hmac.new(text.encode(), asked.encode(), hashlib.sha256).hexdigest()
    name = hashlib.sha256(f"{principal.id}\n{text}".encode()).hexdigest()
    return Once(name, fingerprint)


class Idempotency:
    """The reservations, kept for 24 hours; one partition of the table `Control`.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(self, control: Table, clock: Clock) -> None:
        self._control = control
        self._clock = clock
        self._reserved = 0

    async def find(self, once: Once | None) -> Reservation | None:
        """What has been reserved for a call, or None.

        Raises:
            IdempotencyKeyReused: its key stands for another call.
        """
        row = await self._row(once) if once is not None else None
        if once is None or row is None or self._is_over(row):
            return None
        return _reservation(row, once)

    async def reserve(self, once: Once, *ids: str) -> Reservation:
        """Reserves ids for a call right before it does its work; returns those that hold.

        They are another's where the same call has come twice at once.

        Raises:
            IdempotencyKeyReused: its key stands for another call.
        """
        await self._sweep_at_times()
        now = self._clock.now()
        values = {"v": 1, "fingerprint": once.fingerprint, "ids": " ".join(ids), "at": now}
        old: Row | None = None
        for pause in pauses():
            try:
                etags = await self._control.commit(PARTITION, _changes(once, values, now, old))
            except ConflictingWrite:
                old = await self._row(once)
                if old is not None and not self._is_over(old):
                    return _reservation(old, once)
                await asyncio.sleep(pause)
                continue
            return Reservation(ids, now, done=False, etag=etags[0])
        raise Conflict("this Idempotency-Key is being used by many at once", code="busy")

    async def finish(self, once: Once, reservation: Reservation) -> None:
        """Notes that the call's work is done, so that it is not done again once it is undone."""
        if reservation.done:
            return
        try:
            change = Merge(_ROW + once.name, {"done": True}, reservation.etag)
            await self._control.commit(PARTITION, [change])
        except ConflictingWrite:
            return  # the same call, sent twice at once, has noted it

    async def _row(self, once: Once) -> Row | None:
        return await self._control.get(PARTITION, _ROW + once.name)

    def _is_over(self, row: Row) -> bool:
        return instant(row.values["at"]) <= self._clock.now() - KEPT

    async def _sweep_at_times(self) -> None:
        """Removes reservations that are over: as many as are made, and never all at once."""
        self._reserved += 1
        if self._reserved % SWEEP_EVERY != 1:
            return
        until = sortable(self._clock.now() - KEPT)
        try:
            rows = self._control.query(
                PARTITION, _BY_TIME, _BY_TIME + until, select=["v"], limit=SWEPT_AT_ONCE
            )
            keys = [row.key async for row in rows]
            names = [key.rpartition(":")[2] for key in keys]
            gone = [Delete(key, None) for key in (*keys, *(_ROW + name for name in names))]
            if gone:
                await self._control.commit(PARTITION, gone)
        except ConflictingWrite:
            return  # another instance removes them, or one of the keys is being used anew
        except StorageUnavailable as error:
            log.warning(
                "old idempotency keys stay for now: %s",
                error.message,
                extra={"action": "sweep_idempotency_keys"},
            )


def _changes(once: Once, values: Mapping[str, Any], now: datetime, old: Row | None) -> list[Change]:
    """The reservation and its entry by time, in the place of those of an older one."""
    by_time = Insert(_by_time(now, once.name), {"v": 1})
    if old is None:
        return [Insert(_ROW + once.name, values), by_time]
    return [
        Replace(old.key, values, old.etag),
        Delete(_by_time(instant(old.values["at"]), once.name), None),
        by_time,
    ]


def _by_time(at: datetime, name: str) -> str:
    return f"{_BY_TIME}{sortable(at)}:{name}"


def _reservation(row: Row, once: Once) -> Reservation:
    """What a key's row says, where it stands for this very call.

    Raises:
        IdempotencyKeyReused: it stands for another.
    """
    if row.values["fingerprint"] != once.fingerprint:
        raise IdempotencyKeyReused(
            "this Idempotency-Key was used for a call with another path or body within the"
            " last 24 hours: send a new key with a new call, and the same body with the same"
            " key"
        )
    return Reservation(
        ids=tuple(str(row.values["ids"]).split()),
        at=instant(row.values["at"]),
        done=bool(row.values.get("done")),
        etag=row.etag,
    )
