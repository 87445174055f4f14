"""All that the balance sheet compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from chaos.asker import Asked
from chaos.effects import Effect, Look
from chaos.hostlog import HostLogs
from chaos.jobs import ChaosJob
from chaos.ledger import Ledger
from chaos.weather import Spell
from tools.fleet import Life


@dataclass(frozen=True, slots=True)
class Happened:
    """The hosts by name, when they or storage were away, and how long an attempt's lease is."""

    lives: Mapping[str, Life]
    spells: Sequence[Spell]
    lease: timedelta

    def explains_twice(self, host: str, committed: datetime) -> str | None:
        """Why a host could not record what it had just committed; None when it could have."""
        life = self.lives[host]
        until = committed + self.lease
        if life.killed and life.ended is not None and life.ended <= until:
            return "its host was killed between COMMIT and the record"
        for spell in self.spells:
            if spell.host in (None, host) and spell.since <= until and committed <= spell.until:
                return "storage was away" if spell.host is None else "its host stood still"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """What was wished, what is recorded, what is in the database, what the logs tell."""

    jobs: Sequence[ChaosJob]
    asked: Sequence[Asked]
    idempotent: bool
    ledger: Ledger
    effects: Sequence[Effect]
    logs: HostLogs
    happened: Happened
    looks: Sequence[Look] = ()
