"""Several dev hosts on one storage account, as many instances of one app in Azure."""

import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Self

from tools.process import ROOT, DevHost, ProcessFailed, start_dev_host

CLOCK = "FLEET_CLOCK_SECONDS"
APPLICATION = "PGAPPNAME"
"""By this variable a PostgreSQL client tells its server who it is."""


@dataclass
class Life:
    """One host from its start to its end: `ended` is None while it runs, `url` until it serves.

    `name` is the place and how many hosts have been there: `host-2.3`.
    """

    place: int
    name: str
    clock_seconds: float
    host: DevHost
    log_path: Path
    started: datetime
    ended: datetime | None = None
    killed: bool = False
    frozen: bool = False
    url: str | None = None


class Fleet:
    """Dev hosts at numbered places, used as a context manager: at its end none is left.

    Each has a port and a log file of its own, and a clock that is off by its place's seconds.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        *,
        clocks: Sequence[float],
        timers: Collection[int] | None = None,
    ) -> None:
        """Starts nothing; one place for each of `clocks`, logs and the app's folder in `folder`.

        `timers`: the places whose hosts run timers. In Azure it is one instance at a time; by
        default it is all, which does everything several times over.
        """
        self._environment = environment
        self._folder = folder
        self._clocks = clocks
        self._timers = range(len(clocks)) if timers is None else timers
        self._files = ExitStack()
        self.lives: list[Life] = []

    def __enter__(self) -> Self:
        app = self._folder / "app"
        app.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tools" / "shifted_function_app.py", app / "function_app.py")
        shutil.copy(ROOT / "host.json", app / "host.json")
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> list[Life]:
        """The hosts that have been started and not ended, by place."""
        return sorted((one for one in self.lives if one.ended is None), key=lambda one: one.place)

    @property
    def urls(self) -> list[str]:
        """The base URLs of the hosts that answer."""
        return [one.url for one in self.running if one.url is not None and not one.frozen]

    def at(self, place: int) -> Life | None:
        """The host that runs at a place, if one does."""
        return next((one for one in self.running if one.place == place), None)

    def start(self, place: int) -> Life:
        """Starts a host at a place; `wait_until_ready` tells when it serves."""
        if self.at(place) is not None:
            raise ValueError(f"there is a host at place {place}")
        number = 1 + sum(one.place == place for one in self.lives)
        name = f"host-{place}.{number}"
        path = self._folder / f"{name}.log"
        log: IO[str] = self._files.enter_context(path.open("w", encoding="utf-8"))
        clock = self._clocks[place]
        own = {CLOCK: str(clock), APPLICATION: name}
        host = start_dev_host(
            {**self._environment, **own},
            app_dir=self._folder / "app",
            flags=() if place in self._timers else ("--no-timers",),
            echo=log,
            name=name,
        )
        life = Life(place, name, clock, host, path, datetime.now(UTC))
        self.lives.append(life)
        return life

    def wait_until_ready(self, life: Life, seconds: float = 90) -> None:
        """Waits until a host serves.

        Raises:
            ProcessFailed: it ended, or stayed silent; not when it was killed meanwhile.
        """
        try:
            life.url = life.host.wait_until_ready(seconds)
        except ProcessFailed:
            if not life.killed:
                raise

    def start_all(self) -> None:
        """Starts a host at each place, and waits until all of them serve."""
        for life in [self.start(place) for place in range(len(self._clocks))]:
            self.wait_until_ready(life)

    def kill(self, place: int) -> Life | None:
        """Kills the host at a place by SIGKILL; None when there is none."""
        life = self.at(place)
        if life is not None:
            life.killed = True
            life.host.kill()
            self._end(life)
        return life

    def freeze(self, place: int) -> Life | None:
        """Has the host at a place stand still; None when there is none."""
        life = self.at(place)
        if life is not None and not life.frozen:
            life.frozen = True
            life.host.freeze()
        return life

    def thaw(self, life: Life) -> None:
        """Lets a host go on that stands still."""
        if life.frozen and life.ended is None:
            life.host.thaw()
            life.frozen = False

    def stop(self) -> None:
        """Ends all hosts, by SIGTERM at first."""
        for life in self.running:
            self.thaw(life)
            life.host.terminate()
        for life in self.running:
            self._end(life)
        self._files.close()

    def _end(self, life: Life) -> None:
        life.host.stop()
        life.ended = datetime.now(UTC)
