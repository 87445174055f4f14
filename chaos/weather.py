"""Lets go wrong what the plan says."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic

from chaos.meddler import Meddler
from chaos.plan import Deed, Event, Plan
from scheduler.dispatch.dispatcher import Dispatcher
from scheduler.errors import StorageUnavailable
from tools.azurite import Azurite
from tools.fleet import Fleet, Life


@dataclass(frozen=True, slots=True)
class Spell:
    """A time in which something was away: a host that stood still, or storage (no host)."""

    host: str | None
    since: datetime
    until: datetime


class Weather:
    """Performs a plan's events on a fleet and its storage; `tell` hears of each."""

    def __init__(
        self,
        plan: Plan,
        fleet: Fleet,
        azurite: Azurite,
        meddler: Meddler,
        dispatcher: Dispatcher,
        tell: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._fleet = fleet
        self._azurite = azurite
        self._meddler = meddler
        self._dispatcher = dispatcher
        self._tell = tell
        self._storage = asyncio.Lock()
        self._gaps: list[Spell] = []
        self.kills = 0

    @property
    def spells(self) -> list[Spell]:
        """When storage, or a host that lived, was away."""
        return list(self._gaps)

    async def blow(self, began: float) -> None:
        """Performs all events, each at its time from `began` (`time.monotonic`)."""
        async with asyncio.TaskGroup() as group:
            for event in self._plan.events:
                await asyncio.sleep(max(0, began + event.at - monotonic()))
                group.create_task(self._perform(event, monotonic() - began))

    async def _perform(self, event: Event, at: float) -> None:
        self._tell(f"{at:6.1f}  {event.told()}")
        match event.deed:
            case Deed.KILL:
                await self._kill(event)
            case Deed.FREEZE:
                await self._freeze(event)
            case Deed.OUTAGE:
                await self._outage(event)
            case Deed.COPIES | Deed.OLD_MESSAGES:
                try:
                    await self._meddle(event)
                except StorageUnavailable:
                    self._tell("        (not then: storage was away)")

    async def _kill(self, event: Event) -> None:
        place = _place(event)
        if await asyncio.to_thread(self._fleet.kill, place) is None:
            self._tell(f"        (there was no host at place {place})")
            return
        self.kills += 1
        await asyncio.sleep(event.seconds)
        await asyncio.to_thread(self._fleet.wait_until_ready, self._fleet.start(place))

    async def _freeze(self, event: Event) -> None:
        life = self._fleet.freeze(_place(event))
        if life is None:
            self._tell(f"        (there was no host at place {event.place})")
            return
        since = datetime.now(UTC)
        await asyncio.sleep(event.seconds)
        self._thaw(life, since)

    def _thaw(self, life: Life, since: datetime) -> None:
        self._fleet.thaw(life)
        self._gaps.append(Spell(life.name, since, datetime.now(UTC)))

    async def _outage(self, event: Event) -> None:
        async with self._storage:
            since = datetime.now(UTC)
            await asyncio.to_thread(self._azurite.stop)
            await asyncio.sleep(event.seconds)
            await asyncio.to_thread(self._azurite.start)
            self._gaps.append(Spell(None, since, datetime.now(UTC)))

    async def _meddle(self, event: Event) -> None:
        if event.zone is None:
            await self._meddler.repeat(event.hidden)
        else:
            await self._meddler.copy(self._dispatcher.queue_of(event.zone), event.hidden)


def _place(event: Event) -> int:
    if event.place is None:
        raise ValueError(f"no place: {event}")
    return event.place
