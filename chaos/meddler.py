"""Copies, delays and repeats the messages of the zones' queues, as a queue may by its contract."""

import asyncio
from collections import deque
from collections.abc import Sequence
from random import Random
from time import monotonic

from scheduler.storage.queues import Queues

_LOOK_SECONDS = 2.0
_PAUSE_SECONDS = 0.05
_REMEMBERED = 2000


class Meddler:
    """Takes messages before the hosts do; a copy goes back, and the original too, later."""

    def __init__(self, queues: Queues, seed: int) -> None:
        """`seed` decides which of the messages of earlier are sent again."""
        self._queues = queues
        self._random = Random(seed)
        self._seen: deque[tuple[str, str]] = deque(maxlen=_REMEMBERED)
        self.copied = 0
        self.repeated = 0

    async def copy(self, queue: str, hidden: Sequence[tuple[int, int]]) -> None:
        """Copies up to so many messages as they come by; each original and copy is hidden.

        Raises:
            StorageUnavailable: storage is away.
        """
        left = list(hidden)
        until = monotonic() + _LOOK_SECONDS
        while left and monotonic() < until:
            original, copy = left[-1]
            received = await self._queues.receive(queue, hidden_seconds=original)
            if not received:
                await asyncio.sleep(_PAUSE_SECONDS)
                continue
            left.pop()
            text = received[0].text
            await self._queues.send(queue, text, delay_seconds=copy)
            self._seen.append((queue, text))
            self.copied += 1

    async def repeat(self, hidden: Sequence[tuple[int, int]]) -> None:
        """Sends so many messages again that were seen some time.

        Raises:
            StorageUnavailable: storage is away.
        """
        for _, delay in hidden:
            if self._seen:
                queue, text = self._random.choice(self._seen)
                await self._queues.send(queue, text, delay_seconds=delay)
                self.repeated += 1
