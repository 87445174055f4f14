"""The lease of a running attempt: renewed in the background, lost when another takes over.

A cancel changes the step's row, so that the next renewal meets another version of it. Should the
reply to a renewal be lost, the row tells.
"""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.errors import ConflictingWrite, StorageUnavailable
from scheduler.execution.claim import Claim
from scheduler.execution.store import ExecutionStore
from scheduler.settings import Settings
from scheduler.telemetry import get_logger
from steps.contract import LeaseLost

log = get_logger(__name__)
_RETRY_SECONDS = 5.0
_STOPPING_SHARE = 1 / 3
"""Of a lease, this much at the most is kept for the step to stop in."""
_TAKEN_OVER = "another worker has taken this step over"


class Lease:
    """Holds an attempt's lease while it is entered as a context.

    When the lease is lost, or cannot be renewed before it ends, `lost` is set and the task `gone`
    is done; when the execution is to be cancelled, `cancelled` and `told_to_stop`.
    """

    def __init__(
        self, claim: Claim, store: ExecutionStore, settings: Settings, clock: Clock
    ) -> None:
        self._claim = claim
        self._store = store
        self._settings = settings
        self._clock = clock
        self._record = claim.record
        self._etag = claim.step_etag
        self._lock = asyncio.Lock()
        self.lost = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def __aenter__(self) -> "Lease":
        self._keeper = asyncio.create_task(self._keep())
        self.gone = asyncio.create_task(self.lost.wait())
        self.told_to_stop = asyncio.create_task(self.cancelled.wait())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = (self._keeper, self.gone, self.told_to_stop)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def _until(self) -> datetime:
        until = self._record.lease_until
        return until if until is not None else self._clock.now()

    async def confirm(self) -> None:
        """Renews the lease now.

        Raises:
            LeaseLost: the attempt no longer counts, or storage cannot tell before the lease ends,
                or the execution is to be cancelled.
        """
        if self.lost.is_set():
            raise LeaseLost(_TAKEN_OVER)
        try:
            await self._renew()
        except StorageUnavailable as error:
            self.lost.set()
            raise LeaseLost("storage cannot confirm that this attempt still counts") from error
        if self.lost.is_set():  # given up while this renewal was under way
            raise LeaseLost(_TAKEN_OVER)
        if self.cancelled.is_set():
            raise LeaseLost("the execution is to be cancelled")

    async def _renew(self) -> None:
        async with self._lock:
            if not self._etag:
                await self._read_again()
            try:
                await self._write()
            except (ConflictingWrite, StorageUnavailable):
                await self._read_again()
                await self._write_once_more()

    async def _write(self) -> None:
        until = self._clock.now() + timedelta(seconds=self._settings.lease_seconds)
        record = replace(self._record, lease_until=until)
        key, etag = self._claim.run.value.key, self._etag
        self._etag = ""  # should the reply be lost: look before the next write
        stored = await self._store.renew(key, self._claim.place, record, etag)
        self._record, self._etag = stored.value, stored.etag

    async def _write_once_more(self) -> None:
        try:
            await self._write()
        except ConflictingWrite as error:
            raise StorageUnavailable("the row of the step changes all the time") from error

    async def _read_again(self) -> None:
        """Finds the version of the step's row: the row has changed, or a reply was lost."""
        run = self._claim.run.value
        stored = await self._store.step(run.key, self._claim.place)
        if stored is None or stored.value.fence != self._record.fence:
            self.lost.set()
            raise LeaseLost(_TAKEN_OVER)
        self._etag = stored.etag
        if stored.value.cancel_requested:
            self._record = replace(self._record, cancel_requested=True)
            self.cancelled.set()

    async def _keep(self) -> None:
        pause = self._settings.lease_renewal_seconds
        while not self.lost.is_set():
            await asyncio.sleep(pause)
            pause = self._settings.lease_renewal_seconds
            try:
                async with asyncio.timeout(self._seconds_left()):
                    await self._renew()
            except LeaseLost:
                log.warning("the lease is lost", extra={"action": "lease_lost"})
            except (StorageUnavailable, TimeoutError):
                pause = min(pause, _RETRY_SECONDS)
                if self._seconds_left() <= pause:
                    log.warning(
                        "the lease cannot be renewed in time", extra={"action": "lease_not_renewed"}
                    )
                    self.lost.set()

    def _seconds_left(self) -> float:
        """For how long a renewal may still be tried: the step has to have stopped in time."""
        lease = self._settings.lease_seconds
        stopping = min(2 * self._settings.cancel_grace_seconds, lease * _STOPPING_SHARE)
        return max((self._until - self._clock.now()).total_seconds() - stopping, 0)
