"""The audit: who did what to which object, from where, and whether it was allowed.

An entry is written after the outcome is known, so that it tells the truth. When that write fails
the outcome stands and is answered as it is; the entry then goes whole to the log, at error level,
under the action `write_audit`. Writing it first instead would record changes
that never happened, and refuse all work whenever the audit alone is out of reach.
"""

import json
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.errors import NotAuthenticated, SchedulerError
from scheduler.security.principals import Caller, Principal
from scheduler.storage.keys import inverted
from scheduler.storage.tables import Insert, Table, Value
from scheduler.telemetry import get_logger

__all__ = ["AuditLog", "Caller"]

UNKNOWN_CALLERS_EVERY = timedelta(minutes=1)
_LONGEST = 1_000

log = get_logger(__name__)


class AuditLog:
    """The table `Audit`: append only, one partition a day (UTC), newest first within it."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock
        self._unknown: dict[tuple[str, str], tuple[datetime, int]] = {}

    async def record(
        self,
        caller: Caller,
        action: str,
        target: str,
        *,
        refused: str | None = None,
        left_out: int = 0,
    ) -> None:
        """Appends one entry; whatever prevents that is logged, and never raised.

        `action` is a stable `verb_noun`, `target` names the object as `kind:id`; `refused` is the
        code of the error when the call was refused, None when it was done; `left_out` counts
        entries of the same kind that this one stands for besides.
        """
        now = self._clock.now()
        entry: Mapping[str, Value] = {
            "v": 1,
            "at": now,
            **_actor(caller.principal),
            "audit_action": action,
            "target": target[:_LONGEST],
            "result": "ok" if refused is None else "refused",
            "code": refused or "",
            "address": caller.address[:_LONGEST],
            "trace_id": caller.trace_id,
        }
        if left_out:
            entry = {**entry, "left_out": left_out}
        key = f"{inverted(now)}:{secrets.token_hex(6)}"
        try:
            await self._table.commit(f"{now:%Y%m%d}", [Insert(key, entry)])
        except Exception as error:
            log.error(
                "an audit entry was not written (%s): %s",
                error,
                json.dumps(dict(entry), default=str),
                exc_info=not isinstance(error, SchedulerError),
                extra={"action": "write_audit", "trace_id": caller.trace_id},
            )

    async def record_unknown(
        self, caller: Caller, action: str, target: str, error: NotAuthenticated
    ) -> None:
        """Appends the refusal of a caller without a valid key, or counts it.

        Anyone can send any number of such calls, and rows cost: each process writes one a minute
        for an action and reason; the next one of its kind tells how many were left out.
        """
        now, kind = self._clock.now(), (action, error.message)
        written, left_out = self._unknown.get(kind, (None, 0))
        if written is not None and now - written < UNKNOWN_CALLERS_EVERY:
            self._unknown[kind] = (written, left_out + 1)
            return
        self._unknown[kind] = (now, 0)
        await self.record(caller, action, target, refused=error.code, left_out=left_out)


def _actor(principal: Principal | None) -> dict[str, Value]:
    if principal is None:
        return {"actor": "", "actor_name": "", "role": ""}
    return {"actor": principal.id, "actor_name": principal.name, "role": principal.role.value}
