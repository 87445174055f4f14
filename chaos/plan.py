"""What a run does and when: all of it follows from the seed."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from random import Random

from chaos.jobs import ASKED, ZONES, AskedJob

HOSTS = 4
CLOCK_DISTANCE_SECONDS = 30.0
"""Between the fastest and the slowest clock, unless it is told otherwise."""
BEGIN_SECONDS = 15.0
"""When the weather begins, after the jobs are stored."""
_BACK_SECONDS = 10.0
"""How long a place counts as empty after its host was killed, besides its planned pause."""
_CANCELLED_SHARE = 0.08


class Deed(StrEnum):
    """What goes wrong."""

    KILL = "kill"
    FREEZE = "freeze"
    OUTAGE = "outage"
    COPIES = "copies"
    OLD_MESSAGES = "old messages"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that goes wrong, `at` seconds from the beginning, for `seconds`.

    `hidden`: for each message that is copied, how many seconds original and copy stay away.
    """

    at: float
    deed: Deed
    seconds: float = 0
    place: int | None = None
    zone: str | None = None
    hidden: tuple[tuple[int, int], ...] = ()

    def told(self) -> str:
        """The event in words."""
        at, later = f"the host at place {self.place}", f"{self.seconds:.1f} s later"
        match self.deed:
            case Deed.KILL:
                return f"SIGKILL to {at}; a new one {later}"
            case Deed.FREEZE:
                return f"SIGSTOP to {at}, SIGCONT {later}"
            case Deed.OUTAGE:
                return f"storage is stopped for {self.seconds:.1f} s"
            case Deed.COPIES:
                return f"up to {len(self.hidden)} messages of {self.zone} are copied and put off"
            case Deed.OLD_MESSAGES:
                return f"{len(self.hidden)} messages of earlier are sent once more"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A run that somebody asks for, and wants cancelled `cancel_after` seconds later."""

    at: float
    job_id: str
    key: str
    cancel_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A whole run: `clocks` are the seconds by which each place's clock is fast.

    No two of them are further apart than `clock_distance`.
    """

    seed: int
    minutes: float
    clock_distance: float
    clocks: tuple[float, ...]
    step_seconds: tuple[float, ...]
    once_at: tuple[tuple[str, float], ...]
    asks: tuple[Ask, ...]
    events: tuple[Event, ...]

    @property
    def seconds(self) -> float:
        """How long the weather lasts."""
        return self.minutes * 60


def make_plan(seed: int, minutes: float, clock_distance: float = CLOCK_DISTANCE_SECONDS) -> Plan:
    """The plan of a seed; the same for everyone who asks."""
    random = Random(seed)
    end = minutes * 60
    half = clock_distance / 2
    clocks = [-half, half, *(round(random.uniform(-half, half), 1) for _ in range(HOSTS - 2))]
    random.shuffle(clocks)
    return Plan(
        seed=seed,
        minutes=minutes,
        clock_distance=clock_distance,
        clocks=tuple(clocks),
        step_seconds=tuple(round(random.uniform(0.1, 2.5), 2) for _ in range(3)),
        once_at=tuple(
            (random.choice(ZONES), round(random.uniform(30, max(end, 40))))
            for _ in range(round(8 * minutes))
        ),
        asks=tuple(_asks(random, end)),
        events=tuple(sorted(_events(random, end), key=lambda event: event.at)),
    )


def _asks(random: Random, end: float) -> Iterator[Ask]:
    number = 0
    for job in ASKED:
        if job.before is not None and end < job.before:
            continue
        for _ in range(max(1, round(job.a_minute * end / 60))):
            number += 1
            yield _ask(random, end, job, number)


def _ask(random: Random, end: float, job: AskedJob, number: int) -> Ask:
    at = random.uniform(2, end - 5 if job.before is None else min(job.before, end - 5))
    cancelled = random.random() < _CANCELLED_SHARE
    wait = round(random.uniform(0, 8), 1)
    return Ask(
        at=round(at, 1),
        job_id=job.job_id,
        key=f"ask-{number}",
        cancel_after=wait if cancelled else None,
    )


def _events(random: Random, end: float) -> Iterator[Event]:
    away: list[tuple[int, float, float]] = []
    for at in _moments(random, end, 65, 90) if end >= 90 else ():
        length = round(random.uniform(50, 60), 1)
        place = random.randrange(HOSTS)
        away.append((place, at, at + length + 1))
        yield Event(at=at, deed=Deed.FREEZE, place=place, seconds=length)
    for at in _moments(random, end, 8, 16):
        pause = round(random.uniform(1, 6), 1)
        back = at + pause + _BACK_SECONDS
        here = [
            place
            for place in range(HOSTS)
            if not any(one == place and since <= back and at <= until for one, since, until in away)
        ]
        if len(here) < 2:
            continue
        place = random.choice(here)
        away.append((place, at, back))
        yield Event(at=at, deed=Deed.KILL, place=place, seconds=pause)
    for at in _moments(random, end, 40, 65):
        yield Event(at=at, deed=Deed.OUTAGE, seconds=round(random.uniform(4, 14), 1))
    for at in _moments(random, end, 3, 7):
        yield Event(at=at, deed=Deed.COPIES, zone=random.choice(ZONES), hidden=_pairs(random, 8))
    for at in _moments(random, end, 6, 12):
        yield Event(at=at, deed=Deed.OLD_MESSAGES, hidden=_pairs(random, 6))


def _moments(random: Random, end: float, least: float, most: float) -> list[float]:
    """Moments from the beginning to the end, so many seconds apart."""
    moments: list[float] = []
    at = BEGIN_SECONDS + random.uniform(0, least)
    while at < end - 5:
        moments.append(round(at, 1))
        at += random.uniform(least, most)
    return moments


def _pairs(random: Random, most: int) -> tuple[tuple[int, int], ...]:
    count = random.randint(1, most)
    return tuple((random.randint(1, 12), random.randint(0, 15)) for _ in range(count))
