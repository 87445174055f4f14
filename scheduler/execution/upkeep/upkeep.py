"""Finds what a crash left lying, zone by zone: what upkeep does each minute.

It is given less than the minute. What it does not get through it leaves to the next one, which goes
on where this one stopped.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.dispatch.control import ControlState
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.errors import StorageUnavailable
from scheduler.execution.upkeep.poison import PoisonWatch
from scheduler.execution.upkeep.pulse import Cursor, Pulses, UpkeepBeat
from scheduler.execution.upkeep.zones import ZoneLook, ZoneUpkeep
from scheduler.telemetry import get_logger

log = get_logger(__name__)
LONGEST = timedelta(seconds=45)
"""No row is begun with later: with what that may take, a call ends within its minute."""
THOROUGH_MINUTES = 10
"""Every so many minutes it also looks where seldom anything is to be found."""
_CONCURRENT_ZONES = 8
_RECORDED_WITHIN = timedelta(minutes=2)
"""So much after its instant, by the clock of its worker, an end is on record or never will be."""


class Upkeep:
    """Looks after every unfinished run.

    Upkeep never frees a slot and never runs a step: it sends, hands over, and repeats duties.
    """

    def __init__(
        self,
        *,
        zones: ZoneUpkeep,
        poison: PoisonWatch,
        pulses: Pulses,
        dispatcher: Dispatcher,
        clock: Clock,
    ) -> None:
        self._zones = zones
        self._poison = poison
        self._pulses = pulses
        self._dispatcher = dispatcher
        self._clock = clock

    async def run(self) -> int:
        """Looks at every unfinished run once, as far as the time goes; returns how many it saw.

        What fails for one run, or one zone, does not hold up the others.

        Raises:
            StorageUnavailable: storage could not be reached for some.
        """
        began = self._clock.now()
        pulse = await self._pulses.read()
        last = pulse.upkeep
        cursor = last.cursor if last is not None else Cursor()
        looks = await self._looks(cursor, pulse.word.state, began)
        gate = asyncio.Semaphore(_CONCURRENT_ZONES)

        async def look(one: ZoneLook) -> None:
            async with gate:
                if one is looks[0] or self._clock.now() < one.until:
                    await self._zones.look(one)

        tasks = [*map(look, looks), self._poison.look_at_relay()]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        faults = [one for one in results if isinstance(one, BaseException)]
        failed = [one for one, result in zip(looks, results, strict=False) if result in faults]
        beat = _beat(looks, failed, began)
        earlier = last.told_before if last is not None else None
        told = max(filter(None, (beat.told_before, earlier)), default=None)
        seconds = (self._clock.now() - began).total_seconds()
        await self._pulses.note_upkeep(replace(beat, duration_seconds=seconds, told_before=told))
        log.info(
            "upkeep done",
            extra={
                "action": "upkeep_done",
                "count": beat.unfinished,
                "zones_left": beat.zones_left,
                "duration_ms": round(seconds * 1000),
            },
        )
        _tell(faults)
        for fault in faults:
            raise fault
        return beat.unfinished

    async def _looks(self, cursor: Cursor, state: ControlState, began: datetime) -> list[ZoneLook]:
        """What to look at, from where the last call stopped, round to the same place."""
        zones = sorted(
            [zone async for zone in self._dispatcher.zones_in_use()],
            key=lambda zone: (zone.queue < cursor.next_zone, zone.queue),
        )
        return [
            ZoneLook(
                zone,
                state,
                until=began + LONGEST,
                thorough=began.minute % THOROUGH_MINUTES == 0,
                beyond=cursor.beyond.get(zone.queue, ""),
            )
            for zone in zones
        ]


def _tell(faults: Sequence[BaseException]) -> None:
    """Logs each fault, since only the first is raised."""
    for fault in faults:
        if isinstance(fault, StorageUnavailable):
            text = "upkeep has to look at a zone again: %s"
            log.warning(text, fault, extra={"action": "upkeep_delayed"})
        elif isinstance(fault, Exception):
            log.error("upkeep of a zone failed", exc_info=fault, extra={"action": "upkeep_failed"})


def _beat(looks: Sequence[ZoneLook], failed: Sequence[ZoneLook], began: datetime) -> UpkeepBeat:
    """What the looks came to. A zone that failed is looked at from its start again."""
    left = [one for one in looks if not one.done and one not in failed]
    waiting = [one.zone.queue for one in left if not one.begun]
    overdue = max(looks, key=lambda one: one.overdue, default=None)
    return UpkeepBeat(
        at=began,
        unfinished=sum(one.unfinished for one in looks),
        overdue=sum(one.overdue for one in looks),
        overdue_zone=overdue.zone.timezone if overdue is not None and overdue.overdue else None,
        put_aside=sum(one.put_aside for one in looks),
        of_later_version=sum(one.of_later_version for one in looks),
        zones_left=len(left),
        cursor=Cursor(
            beyond={one.zone.queue: one.beyond for one in left if one.beyond},
            next_zone=waiting[0] if waiting else "",
        ),
        told_before=_told_before(looks, began),
    )


def _told_before(looks: Sequence[ZoneLook], began: datetime) -> datetime | None:
    """Before which instant every end is told; None where not all that is unfinished was seen."""
    if not all(one.done and one.whole for one in looks):
        return None
    return min([began - _RECORDED_WITHIN, *(one.told_before for one in looks)])
