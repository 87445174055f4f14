"""Timer triggers: each runs by its schedule, never beside itself."""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

from tools.devhost.errors import InvocationFailed
from tools.devhost.hostfile import resolved
from tools.devhost.schedule import Schedule
from tools.devhost.worker import Function, Worker

log = logging.getLogger("devhost.timers")

LATE = timedelta(seconds=1)
LONGEST_WAIT = 30.0  # seconds; the wall clock may be set while we wait


class Timer:
    """One timer-triggered function; an occurrence that passes while it runs is left out."""

    def __init__(self, worker: Worker, function: Function) -> None:
        """Reads the binding; raises AppFailed when its schedule is wrong."""
        self._worker = worker
        self._name = function.name
        self._at_start = bool(function.trigger.get("runOnStartup", False))
        self._schedule = Schedule(resolved(str(function.trigger["schedule"])))

    async def run(self, stop: asyncio.Event) -> None:
        """Runs the function when it is due, until `stop` is set; a running one is finished."""
        if self._at_start:
            await self._invoke(past_due=False)
        while not stop.is_set():
            due = self._schedule.next(datetime.now(UTC))
            if await _wait_until(due, stop):
                await self._invoke(past_due=datetime.now(UTC) - due > LATE)

    async def _invoke(self, *, past_due: bool) -> None:
        try:
            await self._worker.timer(self._name, past_due=past_due)
        except InvocationFailed as error:
            log.error("%s\n%s", error, error.stack, extra={"function": self._name})


async def _wait_until(due: datetime, stop: asyncio.Event) -> bool:
    while not stop.is_set():
        left = (due - datetime.now(UTC)).total_seconds()
        if left <= 0:
            return True
        try:
            await asyncio.wait_for(stop.wait(), min(left, LONGEST_WAIT))
        except TimeoutError:
            continue
    return False
