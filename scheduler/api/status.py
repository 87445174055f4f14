"""What runs, and whether it runs well: the status of all zones."""

import asyncio
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.api.checks import (
    Check,
    control_check,
    poison_check,
    slots_check,
    tick_check,
    upkeep_checks,
    worst,
)
from scheduler.api.control import control_document
from scheduler.clock import Clock
from scheduler.dispatch.dispatcher import Dispatcher, ZoneQueue
from scheduler.dispatch.queue_names import poison_queue_name, relay_queue_name
from scheduler.errors import StorageUnavailable
from scheduler.execution.admission.slots import SLOT_PREFIX, WAIT_PREFIX, WAITS_END
from scheduler.execution.upkeep.pulse import Pulse, Pulses
from scheduler.settings import Settings
from scheduler.storage.account import Storage

STATUS_SECONDS = 15
_CONCURRENT_ZONES = 16


@dataclass(frozen=True, slots=True)
class ZoneStatus:
    """A zone's queue and slots; `oldest_wait`: since when a run has been parked the longest."""

    zone: ZoneQueue
    queue_size: int = 0
    active: int = 0
    waiting: int = 0
    oldest_wait: datetime | None = None
    poison: int = 0

    def longest_wait(self, now: datetime) -> float:
        """For how many seconds a run has been parked the longest."""
        return max((now - self.oldest_wait).total_seconds(), 0) if self.oldest_wait else 0


class Status:
    """Reads the state of the scheduler; its cost follows the zones in use and what is active."""

    def __init__(
        self,
        *,
        storage: Storage,
        dispatcher: Dispatcher,
        pulses: Pulses,
        settings: Settings,
        clock: Clock,
        started: datetime,
    ) -> None:
        self._storage = storage
        self._dispatcher = dispatcher
        self._pulses = pulses
        self._settings = settings
        self._clock = clock
        self._started = started

    async def status(self) -> dict[str, Any]:
        """The status of every zone, declared or in use.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        relay_poison = poison_queue_name(relay_queue_name(self._settings.name))
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                zones, pulse, relayed = await asyncio.gather(
                    self._zones(), self._pulses.read(), self._storage.queues.length(relay_poison)
                )
        except TimeoutError:
            raise StorageUnavailable(
                f"storage did not answer within {STATUS_SECONDS} s: status of the zones"
            ) from None
        now = self._clock.now()
        poison = relayed + sum(zone.poison for zone in zones)
        checks = self._checks(pulse, zones, poison, now)
        beat = pulse.tick
        return {
            "message": "the scheduler's zones, and what runs in them",
            "engine_started": self._started,
            "status": worst(checks),
            "control": control_document(pulse.word),
            "timezone_queues": {
                zone.zone.timezone: self._zone_document(zone, now) for zone in zones
            },
            "total_queues": len(zones),
            "total_active_executions": sum(zone.active for zone in zones),
            "last_tick": beat.at if beat else None,
            "tick_lag_seconds": round((now - beat.at).total_seconds(), 1) if beat else None,
            "tick_lateness_seconds": round(beat.lateness_seconds, 1) if beat else None,
            "last_upkeep": pulse.upkeep.at if pulse.upkeep else None,
            "poison_messages": poison,
            "checks": [check.document() for check in checks],
            "version": self._settings.version,
            "timestamp": now,
        }

    def _checks(
        self, pulse: Pulse, zones: list[ZoneStatus], poison: int, now: datetime
    ) -> list[Check]:
        longest = max(zones, key=lambda zone: zone.longest_wait(now), default=None)
        limit = self._settings.max_concurrent_per_timezone
        return [
            tick_check(pulse.tick, self._started, now),
            *upkeep_checks(pulse.upkeep, self._started, now),
            control_check(pulse.word),
            slots_check(longest.longest_wait(now), longest.zone.timezone, limit)
            if longest
            else slots_check(0, None, limit),
            poison_check(poison),
        ]

    async def _zones(self) -> list[ZoneStatus]:
        used = [zone async for zone in self._dispatcher.zones_in_use()]
        gate = asyncio.Semaphore(_CONCURRENT_ZONES)

        async def look(zone: ZoneQueue) -> ZoneStatus:
            async with gate:
                return await self._zone(zone)

        found = list(await asyncio.gather(*map(look, used)))
        names = {zone.timezone for zone in used}
        for name in self._settings.timezones:
            if name not in names:
                found.append(ZoneStatus(ZoneQueue(name, self._dispatcher.queue_of(name))))
        return sorted(found, key=lambda status: status.zone.timezone)

    async def _zone(self, zone: ZoneQueue) -> ZoneStatus:
        size, poison = await asyncio.gather(
            self._storage.queues.length(zone.queue),
            self._storage.queues.length(poison_queue_name(zone.queue)),
        )
        active = waiting = 0
        oldest = None
        rows = self._storage.zones.query(
            zone.queue, SLOT_PREFIX, WAITS_END, select=["execution_id", "since"]
        )
        async for row in rows:
            if row.key.startswith(SLOT_PREFIX):
                active += 1
            if not row.key.startswith(WAIT_PREFIX):
                continue
            waiting += 1
            since = row.values.get("since")
            if oldest is None and isinstance(since, datetime):
                oldest = since
        return ZoneStatus(zone, size, active, waiting, oldest, poison)

    def _zone_document(self, zone: ZoneStatus, now: datetime) -> dict[str, Any]:
        return {
            "timezone": zone.zone.timezone,
            "queue": zone.zone.queue,
            "declared": self._dispatcher.is_declared(zone.zone.queue),
            "queue_size": zone.queue_size,
            "active_executions": zone.active,
            "waiting": zone.waiting,
            "max_concurrent": self._settings.max_concurrent_per_timezone,
            "running": True,
            "oldest_wait_seconds": round(zone.longest_wait(now), 1),
        }
