"""The two health checks: that this process answers, and whether it can do its work."""

import asyncio
import importlib
from datetime import datetime
from typing import Any

from scheduler.api.checks import Check, tick_check
from scheduler.api.problems import STORAGE_AWAY
from scheduler.clock import Clock
from scheduler.errors import SchedulerError, StorageUnavailable
from scheduler.schedule.heartbeat import Heartbeat
from scheduler.schedule.zones import tzdata_version
from scheduler.security.encryption import Cipher
from scheduler.settings import Settings
from scheduler.telemetry import get_logger
from steps.registry import Registry

log = get_logger(__name__)
READY_SECONDS = 5
"""How long readiness waits for storage: a probe gives up sooner than the SDK does."""


class Health:
    """Looks at this instance."""

    def __init__(
        self,
        *,
        heartbeat: Heartbeat,
        registry: Registry,
        cipher: Cipher,
        settings: Settings,
        clock: Clock,
        started: datetime,
    ) -> None:
        self._heartbeat = heartbeat
        self._registry = registry
        self._cipher = cipher
        self._settings = settings
        self._clock = clock
        self._started = started

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
        tick = tick_check(beat, self._started, self._clock.now())
        return Check("storage", "ok", f"Table Storage answers; {tick.detail}")

    def _step_checks(self) -> list[Check]:
        checks = []
        for info in self._registry.types():
            detail = info.unavailable_reason or "available"
            result = "ok" if info.unavailable_reason is None else "warning"
            checks.append(Check(f"step_type:{info.type}", result, detail))
        return checks


def _odbc_drivers() -> list[str]:
    try:
        return list(importlib.import_module("pyodbc").drivers())
    except ImportError:
        return []
