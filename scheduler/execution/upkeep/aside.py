"""Rows of a zone that cannot be worked with: moved out of the way, and back when asked to.

They stay in their zone's partition, under `aside:` and their old key, with the reason. An operator
who has mended the cause sets `again` to true on such a row: upkeep puts it back, to be met as new.
"""

from collections.abc import Iterable

from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import ZoneQueue
from scheduler.dispatch.ids import ExecutionId, parse_execution_id
from scheduler.dispatch.run_index import PREFIX
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.admission.slots import SLOT_PREFIX, WAITS_END, slot_holder
from scheduler.execution.settle import Settlement
from scheduler.execution.store import CURRENT, QUEUE_PREFIX
from scheduler.storage.keys import after
from scheduler.storage.tables import MAX_CHANGES, Change, Delete, Merge, Row, Table, Upsert, Value
from scheduler.telemetry import get_logger

log = get_logger(__name__)
ASIDE_PREFIX = "aside:"
_OWN_COLUMNS = frozenset({"aside_at", "aside_reason", "again"})
_AS_NEW: dict[str, Value] = {"failures": 0, "sends": 0, "place": "", "slot": "", "wait": ""}
"""Of a run that holds nothing any more, and is to be looked at from the start."""
_HOLDS_NOTHING: dict[str, Value] = {"holds_current": False, "slot": "", "slot_etag": ""}
_REASON_CHARACTERS = 1000


class Aside:
    """Puts rows aside, and back.

    Every call raises StorageUnavailable when storage cannot be reached.
    """

    def __init__(
        self, zones: Table, executions: Table, settlement: Settlement, clock: Clock
    ) -> None:
        self._zones = zones
        self._executions = executions
        self._settlement = settlement
        self._clock = clock

    async def put(self, queue: str, row: Row, reason: str, extra: Iterable[Delete] = ()) -> bool:
        """Moves a row aside, if it is as it was read; told in the log, this once."""
        values = {
            **row.values,
            "aside_at": self._clock.now(),
            "aside_reason": reason[:_REASON_CHARACTERS],
        }
        moved = Upsert(ASIDE_PREFIX + row.key, values)
        changes: list[Change] = [moved, Delete(row.key, row.etag), *extra]
        try:
            await self._zones.commit(queue, changes[:MAX_CHANGES])
        except ConflictingWrite:
            return False
        log.error(
            "the row %s was put aside: %s",
            row.key,
            reason,
            extra={"action": "row_put_aside", "queue": queue},
        )
        return True

    async def put_run(self, zone: ZoneQueue, row: Row, reason: str) -> None:
        """Moves the `run:` row of a run aside, and gives back all that the run has: nothing of its
        zone and nothing of its job is to wait for it."""
        execution_id = ExecutionId(row.key.removeprefix(PREFIX))
        await self._leave_job(execution_id)
        places = self._zones.query(zone.queue, SLOT_PREFIX, WAITS_END)
        held = [Delete(one.key, one.etag) async for one in places if _is_of(one, execution_id)]
        if await self.put(zone.queue, row, reason, held):
            await self._settlement.hand_over(zone.timezone)

    async def _leave_job(self, execution_id: ExecutionId) -> None:
        """Takes a run from its job's line: as the active one, and from among those that wait."""
        key = parse_execution_id(execution_id)
        if key is None:
            return
        try:
            await self._executions.commit(key.job_id, [Merge(key.run_row, _HOLDS_NOTHING, None)])
        except ConflictingWrite:
            log.info("there is no run row", extra={"action": "run_row_missing"})
        rows = self._executions.query(key.job_id, CURRENT, after(QUEUE_PREFIX))
        async for row in rows:
            if row.values.get("execution_id") == execution_id:
                try:
                    await self._executions.commit(key.job_id, [Delete(row.key, row.etag)])
                except ConflictingWrite:
                    continue
        try:
            await self._settlement.start_queued(key.job_id)
        except StorageUnavailable:
            raise
        except Exception:
            # It is another run of the job that cannot be read: upkeep meets that one by itself.
            log.exception("the next run of a job has to wait", extra={"action": "queue_delayed"})

    async def look(self, queue: str, row: Row) -> bool:
        """Puts a row back that was put aside, if it is marked so; whether it stays aside."""
        if str(row.values.get("again") or "").lower() not in ("true", "1"):
            return True
        values = {name: value for name, value in row.values.items() if name not in _OWN_COLUMNS}
        key = row.key.removeprefix(ASIDE_PREFIX)
        if key.startswith(PREFIX):
            values |= _AS_NEW
        try:
            await self._zones.commit(queue, [Upsert(key, values), Delete(row.key, row.etag)])
        except ConflictingWrite:
            return True
        log.warning("a row was put back", extra={"action": "row_put_back", "queue": queue})
        return False


def _is_of(row: Row, execution_id: ExecutionId) -> bool:
    return slot_holder(row) == execution_id or row.key.endswith(f":{execution_id}")
