"""What upkeep does for one zone: it goes through its rows, and guards each from the others.

`aside:`, `run:`, `slot:`, `state`, `wait:`: one query reads them all, in this order.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.control import ZONE_STATE, Control, ControlState, zone_state
from scheduler.dispatch.dispatcher import ZoneQueue
from scheduler.dispatch.ids import ExecutionId
from scheduler.dispatch.run_index import (
    PREFIX,
    Place,
    RunEntry,
    entry_of,
    is_of_later_version,
)
from scheduler.errors import StorageUnavailable
from scheduler.execution.admission.slots import (
    SLOT_PREFIX,
    WAIT_PREFIX,
    WAITS_END,
    is_waiter,
    slot_holder,
)
from scheduler.execution.settle import Settlement
from scheduler.execution.upkeep.aside import ASIDE_PREFIX, Aside
from scheduler.execution.upkeep.failures import Failures, failures_of
from scheduler.execution.upkeep.given_up import GivenUp
from scheduler.execution.upkeep.places import Places
from scheduler.execution.upkeep.poison import PoisonWatch
from scheduler.execution.upkeep.runs import RunUpkeep
from scheduler.storage.tables import Row, Table
from scheduler.telemetry import bound, get_logger

log = get_logger(__name__)
_AN_INSTANT = timedelta(microseconds=1)
_UNKNOWN = datetime.fromtimestamp(0, UTC)
_FAR = datetime.max.replace(tzinfo=UTC)
OVERDUE = timedelta(minutes=5)
"""A start that nobody took for so long is told in the status."""


@dataclass
class ZoneLook:
    """One look at a zone: what is asked of it, how far it came, and what it saw.

    It goes on `beyond` a row key and stops at `until`. A `thorough` one also reads the run rows of
    those that wait for a slot, and the poison queue though nothing is unfinished.

    Whatever ended before `told_before`, by the rows that were looked at, stands in its day's list.
    """

    zone: ZoneQueue
    state: ControlState
    until: datetime
    thorough: bool
    beyond: str = ""
    begun: bool = False
    whole: bool = False
    done: bool = False
    unfinished: int = 0
    overdue: int = 0
    put_aside: int = 0
    of_later_version: int = 0
    told_before: datetime = _FAR

    def leave(self, row: Row) -> None:
        """Notes that the run of a `run:` row may have ended since it came to where it is."""
        since = row.values.get("since") or row.values.get("announced")
        earliest = since - _AN_INSTANT if isinstance(since, datetime) else _UNKNOWN
        self.told_before = min(self.told_before, earliest)


@dataclass
class _Seen:
    """What of the rows matters once all are seen."""

    runs: set[str] = field(default_factory=set)
    held: list[RunEntry] = field(default_factory=list)
    parked: dict[str, RunEntry] = field(default_factory=dict)
    waiters: dict[str, Row] = field(default_factory=dict)
    lines: set[str] = field(default_factory=set)
    mark: ControlState | None = ControlState.RUNNING


class ZoneUpkeep:
    """Looks after zones."""

    def __init__(
        self,
        *,
        zones: Table,
        runs: RunUpkeep,
        places: Places,
        given_up: GivenUp,
        aside: Aside,
        failures: Failures,
        settlement: Settlement,
        poison: PoisonWatch,
        control: Control,
        clock: Clock,
    ) -> None:
        self._zones = zones
        self._runs = runs
        self._places = places
        self._given_up = given_up
        self._aside = aside
        self._failures = failures
        self._settlement = settlement
        self._poison = poison
        self._control = control
        self._clock = clock

    async def look(self, look: ZoneLook) -> None:
        """Goes through a zone's rows, until its time is over; at least one row further.

        What fails for one row does not hold up the others.

        Raises:
            StorageUnavailable: the rows, or what the whole zone needs, cannot be reached.
        """
        look.begun = True
        start = f"{look.beyond}!" if look.beyond else ASIDE_PREFIX
        look.whole = not look.beyond
        seen = _Seen(mark=ControlState.RUNNING if start < ZONE_STATE else None)
        async with aclosing(self._zones.query(look.zone.queue, start, WAITS_END)) as rows:
            async for row in rows:
                await self._row(look, seen, row)
                look.beyond = row.key
                if self._clock.now() >= look.until and not row.key.startswith(WAIT_PREFIX):
                    await self._let_go(look, seen.held)
                    return
        if seen.mark not in (None, look.state):
            await self._control.mark(look.zone.queue)
        await self._let_go(look, seen.held)
        if look.whole:
            await self._mend_line(look, seen)
        if seen.waiters:
            await self._settlement.hand_over(look.zone.timezone)
        if look.unfinished or look.thorough:
            await self._poison.look(look.zone)
        look.done = True

    async def _row(self, look: ZoneLook, seen: _Seen, row: Row) -> None:
        queue = look.zone.queue
        if row.key.startswith(ASIDE_PREFIX):
            look.put_aside += await self._aside.look(queue, row)
        elif row.key.startswith(PREFIX):
            seen.runs.add(row.key.removeprefix(PREFIX))
            look.unfinished += 1
            await self._guarded(look, row, lambda: self._run(look, seen, row))
        elif row.key.startswith(WAIT_PREFIX):
            seen.waiters[row.key] = row
        elif row.key == ZONE_STATE:
            seen.mark = zone_state(row)
        elif row.key.startswith(SLOT_PREFIX) and slot_holder(row) not in seen.runs:
            await self._guarded(look, row, lambda: self._places.ownerless(queue, row))

    async def _run(self, look: ZoneLook, seen: _Seen, row: Row) -> None:
        if is_of_later_version(row):
            look.of_later_version += 1
            look.leave(row)
            return
        if failures_of(row).is_final and await self._given_up.end(look.zone, row):
            return
        entry = entry_of(row)
        if entry.place is Place.HELD:
            seen.held.append(entry)
        elif entry.place is Place.WAITING and entry.wait is not None:
            seen.parked[entry.wait] = entry
        elif entry.place is Place.ARRIVING:
            look.overdue += self._clock.now() - entry.announcement.due > OVERDUE
        if not await self._runs.look(
            look.zone, look.state, entry, seen.lines, parked=look.thorough
        ):
            look.leave(row)

    async def _guarded(
        self, look: ZoneLook, row: Row, work: Callable[[], Awaitable[object]]
    ) -> None:
        """Does one piece of work; should our own code fail at it, that counts against the run."""
        of_run = row.key.startswith(PREFIX)
        name = row.key.removeprefix(PREFIX) if of_run else slot_holder(row)
        with bound(execution_id=name, timezone=look.zone.timezone):
            try:
                await work()
            except StorageUnavailable:
                look.leave(row)
                log.warning("upkeep has to look again", extra={"action": "upkeep_delayed"})
            except Exception as error:
                look.leave(row)
                log.exception("upkeep of a run failed", extra={"action": "upkeep_failed"})
                if of_run:
                    await self._failures.note(look.zone.queue, ExecutionId(name), error)

    async def _let_go(self, look: ZoneLook, held: list[RunEntry]) -> None:
        """Lets runs start that were held, those of one job a second apart, to come in order."""
        jobs: Counter[str] = Counter()
        for entry in held:
            execution_id = entry.announcement.execution_id
            job_id = execution_id.partition(".")[0]
            delay = timedelta(seconds=jobs[job_id])
            jobs[job_id] += 1
            with bound(execution_id=execution_id, timezone=look.zone.timezone):
                try:
                    await self._runs.let_go(look.zone, look.state, entry, delay)
                except StorageUnavailable:
                    log.warning("upkeep has to look again", extra={"action": "upkeep_delayed"})

    async def _mend_line(self, look: ZoneLook, seen: _Seen) -> None:
        """Sees to it that who is parked has a waiter's row that can be worked with, and that no
        other row blocks the line."""
        spoilt = {key for key, row in seen.waiters.items() if not is_waiter(row)}
        for key, entry in seen.parked.items():
            if key in spoilt or key not in seen.waiters:
                await self._places.park_again(look.zone.queue, entry)
                seen.waiters.setdefault(key, Row(look.zone.queue, key, {}, ""))
        for key in spoilt - seen.parked.keys():
            row = seen.waiters.pop(key)
            if not is_of_later_version(row):
                await self._aside.put(look.zone.queue, row, "a waiter that cannot be read")
