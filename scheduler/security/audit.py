"""The audit: who did what to which object, from where, and whether it was allowed.

An entry is written after the outcome is known, so that it tells the truth. When that write fails
the outcome stands and is answered as it is; the entry then goes whole to the log, at error level,
under the action `write_audit`. Writing it first instead would record changes
that never happened, and refuse all work whenever the audit alone is out of reach.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from scheduler.clock import Clock
from scheduler.errors import SchedulerError
from scheduler.security.principals import Principal
from scheduler.storage.keys import inverted
from scheduler.storage.tables import Insert, Table, Value
from scheduler.telemetry import get_logger

_LONGEST = 1_000

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a call comes from: the principal (None before it is known), address, trace id."""

    principal: Principal | None
    address: str = ""
    trace_id: str = ""


class AuditLog:
    """The table `Audit`: append only, one partition a day (UTC), newest first within it."""

    def __init__(self, table: Table, clock: Clock) -> None:
        self._table = table
        self._clock = clock

    async def record(
        self, caller: Caller, action: str, target: str, *, refused: str | None = None
    ) -> None:
        """Appends one entry; whatever prevents that is logged, and never raised.

        `action` is a stable `verb_noun`, `target` names the object as `kind:id`; `refused` is the
        code of the error when the call was refused, None when it was done.
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


def _actor(principal: Principal | None) -> dict[str, Value]:
    if principal is None:
        return {"actor": "", "actor_name": "", "role": ""}
    return {"actor": principal.id, "actor_name": principal.name, "role": principal.role.value}
