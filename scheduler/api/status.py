"""What runs and whether it runs well: the status of all zones, and the two health checks."""

import asyncio
import importlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from scheduler.api.control import control_document
from scheduler.api.problems import STORAGE_AWAY
from scheduler.clock import Clock
from scheduler.dispatch.control import Control, ControlState, ControlWord
from scheduler.dispatch.dispatcher import Dispatcher, ZoneQueue
from scheduler.dispatch.queue_names import poison_queue_name
from scheduler.errors import SchedulerError, StorageUnavailable
from scheduler.execution.slots import SLOT_PREFIX, WAIT_PREFIX, WAITS_END
from scheduler.schedule.heartbeat import Beat, Heartbeat
from scheduler.schedule.wording import counted
from scheduler.schedule.zones import tzdata_version
from scheduler.security.encryption import Cipher
from scheduler.settings import Settings
from scheduler.storage.account import Storage
from scheduler.telemetry import get_logger
from steps.registry import Registry

log = get_logger(__name__)
TICK_LATE_SECONDS = 180
READY_SECONDS = 5
"""How long readiness waits for storage: a probe gives up sooner than the SDK does."""
STATUS_SECONDS = 15
_CONCURRENT_ZONES = 16


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `ok`, `warning` or `failed`, and what to do."""

    name: str
    result: str
    detail: str

    def document(self) -> dict[str, str]:
        """Its JSON."""
        return {"name": self.name, "status": self.result, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class ZoneStatus:
    """A zone's queue and slots."""

    zone: ZoneQueue
    queue_size: int
    active: int
    waiting: int
    oldest_wait: datetime | None
    poison: int


class Status:
    """Reads the state of the scheduler; its cost follows the zones in use and what is active."""

    def __init__(
        self,
        *,
        storage: Storage,
        dispatcher: Dispatcher,
        control: Control,
        heartbeat: Heartbeat,
        registry: Registry,
        cipher: Cipher,
        settings: Settings,
        clock: Clock,
        started: datetime,
    ) -> None:
        self._storage = storage
        self._dispatcher = dispatcher
        self._control = control
        self._heartbeat = heartbeat
        self._registry = registry
        self._cipher = cipher
        self._settings = settings
        self._clock = clock
        self._started = started

    async def status(self) -> dict[str, Any]:
        """The status of every zone, declared or in use.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        try:
            async with asyncio.timeout(STATUS_SECONDS):
                zones, beat, word = await asyncio.gather(
                    self._zones(), self._heartbeat.last(), self._control.read()
                )
        except TimeoutError:
            raise StorageUnavailable(
                f"storage did not answer within {STATUS_SECONDS} s: status of the zones"
            ) from None
        now = self._clock.now()
        checks = [
            self._tick_check(beat, now),
            _control_check(word),
            _poison_check(sum(zone.poison for zone in zones)),
        ]
        return {
            "message": "the scheduler's zones, and what runs in them",
            "engine_started": self._started,
            "status": _worst(checks),
            "control": control_document(word),
            "timezone_queues": {
                zone.zone.timezone: self._zone_document(zone, now) for zone in zones
            },
            "total_queues": len(zones),
            "total_active_executions": sum(zone.active for zone in zones),
            "last_tick": beat.at if beat else None,
            "tick_lag_seconds": round((now - beat.at).total_seconds(), 1) if beat else None,
            "tick_lateness_seconds": round(beat.lateness_seconds, 1) if beat else None,
            "poison_messages": sum(zone.poison for zone in zones),
            "checks": [check.document() for check in checks],
            "version": self._settings.version,
            "timestamp": now,
        }

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
                zone = ZoneQueue(name, self._dispatcher.queue_of(name))
                found.append(ZoneStatus(zone, 0, 0, 0, None, 0))
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
        waited = (now - zone.oldest_wait).total_seconds() if zone.oldest_wait else 0
        return {
            "timezone": zone.zone.timezone,
            "queue": zone.zone.queue,
            "declared": self._dispatcher.is_declared(zone.zone.queue),
            "queue_size": zone.queue_size,
            "active_executions": zone.active,
            "waiting": zone.waiting,
            "max_concurrent": self._settings.max_concurrent_per_timezone,
            "running": True,
            "oldest_wait_seconds": round(max(waited, 0), 1),
        }

    async def ready(self) -> tuple[bool, dict[str, Any]]:
        """Whether this instance can do its work, and each thing that was looked at."""
        checks = [self._configuration_check(), await self._storage_check(), *self._step_checks()]
        ready = all(check.result != "failed" for check in checks)
        return ready, {
            "success": ready,
            "message": "ready" if ready else "not ready: see checks",
            "status": "ready" if ready else "not_ready",
            "checks": [check.document() for check in checks],
            "tzdata": tzdata_version(),
            "odbc_drivers": _odbc_drivers(),
            "version": self._settings.version,
            "timestamp": self._clock.now(),
        }

    def live(self) -> dict[str, Any]:
        """That this process answers; nothing is looked at."""
        return {
            "message": "alive",
            "status": "live",
            "version": self._settings.version,
            "timestamp": self._clock.now(),
        }

    def _configuration_check(self) -> Check:
        try:
            self._cipher.check()
        except SchedulerError as error:
            return Check("configuration", "failed", error.message)
        if self._settings.key_pepper is None:
            return Check(
                "configuration", "failed", "the app setting SCHEDULER_KEY_PEPPER is missing"
            )
        return Check("configuration", "ok", "keys and pepper are set")

    async def _storage_check(self) -> Check:
        try:
            async with asyncio.timeout(READY_SECONDS):
                beat = await self._heartbeat.last()
        except StorageUnavailable as error:
            log.warning("not ready: %s", error.message, extra={"action": "read_ready"})
            return Check("storage", "failed", STORAGE_AWAY)
        except TimeoutError:
            text = f"storage did not answer within {READY_SECONDS} s"
            log.warning("not ready: %s", text, extra={"action": "read_ready"})
            return Check("storage", "failed", text)
        tick = self._tick_check(beat, self._clock.now())
        return Check("storage", "ok", f"Table Storage answers; {tick.detail}")

    def _step_checks(self) -> list[Check]:
        checks = []
        for info in self._registry.types():
            detail = info.unavailable_reason or "available"
            result = "ok" if info.unavailable_reason is None else "warning"
            checks.append(Check(f"step_type:{info.type}", result, detail))
        return checks

    def _tick_check(self, beat: Beat | None, now: datetime) -> Check:
        if beat is None:
            since = (now - self._started).total_seconds()
            result = "warning" if since < TICK_LATE_SECONDS else "failed"
            return Check("tick", result, "the tick has not run yet: is the timer function enabled?")
        lag = (now - beat.at).total_seconds()
        if lag > TICK_LATE_SECONDS:
            text = f"the tick last ran {lag:.0f} s ago: look at the timer function's log"
            return Check("tick", "failed", text)
        return Check("tick", "ok", f"the tick last ran {max(lag, 0):.0f} s ago")


def _control_check(word: ControlWord) -> Check:
    if word.state is ControlState.RUNNING:
        return Check("control", "ok", "runs start")
    note = f": {word.note}" if word.note else ""
    text = f"the scheduler is {word.state} since {word.changed_at:%Y-%m-%dT%H:%M:%SZ}{note}"
    return Check("control", "warning", text)


def _poison_check(count: int) -> Check:
    if count == 0:
        return Check("poison", "ok", "no message was put aside")
    were = "was" if count == 1 else "were"
    text = (
        f"{counted(count, 'message')} {were} put aside in queues named …-poison: look at the text"
    )
    return Check("poison", "warning", text)


def _worst(checks: list[Check]) -> str:
    results = {check.result for check in checks}
    if "failed" in results:
        return "unhealthy"
    return "degraded" if "warning" in results else "healthy"


def _odbc_drivers() -> list[str]:
    try:
        return list(importlib.import_module("pyodbc").drivers())
    except ImportError:
        return []
