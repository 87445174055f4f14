"""What the two timers do each minute: one after the other, whatever one of them meets."""

from collections.abc import Awaitable, Callable

from scheduler.clock import Clock
from scheduler.execution.history.retention import Retention
from scheduler.execution.history.rollup import Rollup
from scheduler.execution.relay import Relay
from scheduler.execution.upkeep.upkeep import Upkeep
from scheduler.schedule.heartbeat import Beat, Heartbeat, lateness
from scheduler.schedule.tick import Tick
from scheduler.schedule.wakes import Wakes
from scheduler.schedule.zone_data import ZoneData
from scheduler.telemetry import get_logger

log = get_logger(__name__)


class Rounds:
    """The round at the full minute, and the one thirty seconds later."""

    def __init__(
        self,
        *,
        tick: Tick,
        wakes: Wakes,
        relay: Relay,
        upkeep: Upkeep,
        rollup: Rollup,
        retention: Retention,
        zone_data: ZoneData,
        heartbeat: Heartbeat,
        clock: Clock,
    ) -> None:
        self._tick = tick
        self._wakes = wakes
        self._relay = relay
        self._upkeep = upkeep
        self._rollup = rollup
        self._retention = retention
        self._zone_data = zone_data
        self._heartbeat = heartbeat
        self._clock = clock

    async def tick(self) -> None:
        """The due runs, the waits that are over, the zones without a trigger; then the heartbeat.

        Raises:
            StorageUnavailable: storage cannot be reached; the next tick goes on.
        """
        began = self._clock.now()
        late = lateness(began, await self._heartbeat.last())
        announced, *_ = await _all_of(self._tick.run, self._wakes.run, self._relay.sweep)
        seconds = (self._clock.now() - began).total_seconds()
        await self._heartbeat.beat(Beat(began, announced or 0, seconds, late))
        log.info(
            "tick done",
            extra={
                "action": "tick_done",
                "count": announced,
                "duration_ms": round(seconds * 1000),
                "lateness_seconds": round(late, 3),
            },
        )

    async def upkeep(self) -> None:
        """Unfinished runs, due rows of old zone data, the totals, and what is too old.

        Raises:
            StorageUnavailable: storage cannot be reached; the next call goes on.
        """
        await _all_of(self._upkeep.run, self._zone_data.run, self._rollup.run, self._retention.run)


async def _all_of(*parts: Callable[[], Awaitable[int | None]]) -> list[int | None]:
    """Does one after the other, also when one fails; what they return.

    Raises:
        Exception: the first of the failures, at the end.
    """
    results: list[int | None] = []
    failures: list[Exception] = []
    for part in parts:
        try:
            results.append(await part())
        except Exception as error:
            log.exception("a part of a round failed", extra={"action": "round_failed"})
            failures.append(error)
    for failure in failures:
        raise failure
    return results
