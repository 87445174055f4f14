"""The lease of a running attempt: renewed in the background, lost when another takes over."""

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


class Lease:
    """Holds an attempt's lease while it is entered as a context.

    When the lease is lost, or cannot be renewed before it ends, `lost` is set and the task `gone`
    is done.
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

    async def __aenter__(self) -> "Lease":
        self._keeper = asyncio.create_task(self._keep())
        self.gone = asyncio.create_task(self.lost.wait())
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in (self._keeper, self.gone):
            task.cancel()
        await asyncio.gather(self._keeper, self.gone, return_exceptions=True)

    @property
    def _until(self) -> datetime:
        until = self._record.lease_until
        return until if until is not None else self._clock.now()

    async def confirm(self) -> None:
        """Renews the lease now.

        Raises:
            LeaseLost: the attempt no longer counts, or storage cannot tell before the lease ends.
        """
        if self.lost.is_set():
            raise LeaseLost("another worker has taken this step over")
        try:
            await self._renew()
        except StorageUnavailable as error:
            self.lost.set()
            raise LeaseLost("storage cannot confirm that this attempt still counts") from error

    async def _renew(self) -> None:
        async with self._lock:
            if not self._etag and not await self._read_again():
                raise LeaseLost("another worker has taken this step over")
            now = self._clock.now()
            until = now + timedelta(seconds=self._settings.lease_seconds)
            record = replace(self._record, lease_until=until)
            run = self._claim.run.value
            try:
                stored = await self._store.renew(run.key, self._claim.place, record, self._etag)
            except ConflictingWrite:
                self.lost.set()
                raise LeaseLost("another worker has taken this step over") from None
            except StorageUnavailable:
                self._etag = ""  # the write may have happened: look before the next one
                raise
            self._record, self._etag = stored.value, stored.etag

    async def _read_again(self) -> bool:
        """Finds the version of the step's row, after a write whose reply was lost."""
        run = self._claim.run.value
        stored = await self._store.step(run.key, self._claim.place)
        if stored is None or stored.value.fence != self._record.fence:
            self.lost.set()
            return False
        self._etag = stored.etag
        return True

    async def _keep(self) -> None:
        while not self.lost.is_set():
            await asyncio.sleep(self._settings.lease_renewal_seconds)
            try:
                await self._renew()
            except LeaseLost:
                log.warning("the lease is lost", extra={"action": "lease_lost"})
            except StorageUnavailable:
                self._give_up_in_time()

    def _give_up_in_time(self) -> None:
        next_try = self._clock.now() + timedelta(seconds=self._settings.lease_renewal_seconds)
        if next_try >= self._until:
            log.warning(
                "the lease cannot be renewed in time", extra={"action": "lease_not_renewed"}
            )
            self.lost.set()
