"""The looks of steps that wait, in a chaos run: each thing that must not be is found."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from chaos.books import Books, Happened
from chaos.effects import Look, LookKind
from chaos.hostlog import HostLogs
from chaos.ledger import Entry, Ledger
from chaos.waits import look_faults, told
from chaos.weather import Spell
from scheduler.dispatch.ids import manual_id
from scheduler.execution.rules.model import Attempt, StepRecord
from scheduler.execution.rules.states import StepStatus
from scheduler.jobs.model import StepId
from tools.fleet import Life

NOW = datetime(2026, 11, 24, 5, 17, tzinfo=UTC)
EXECUTION = manual_id("waiting", NOW)
KEY = (EXECUTION, "second", 1)


def look(number: int, token: str, *seen: str, kind: LookKind = LookKind.LOOK) -> Look:
    """A look that begins so many minutes after the first, and takes a second."""
    begun = NOW + timedelta(minutes=number)
    host = f"host-{number % 2}"
    return Look(*KEY, kind, token, seen, host, begun, begun + timedelta(seconds=1))


LOOKS = (look(0, "a"), look(1, "b", "a"), look(2, "c", "a", "b", kind=LookKind.LAST))
AGAIN = replace(look(1, "x", "a"), host="host-0")


def books(looks: tuple[Look, ...] = LOOKS, outcome: str = "success", waits: int = 2) -> Books:
    """One attempt of a step that waits, with these looks."""
    record = StepRecord(
        id=StepId("second"),
        name="second",
        type="waiting",
        status=StepStatus.SUCCESS,
        attempts=(Attempt(number=1, outcome=outcome, start_time=NOW),),
        fence=None,
        lease_until=None,
    )
    logs = HostLogs()
    logs.waits[KEY] = waits
    life = Life(0, "host-0", 0, cast(Any, None), cast(Any, None), NOW)
    lives = {name: replace(life, name=name) for name in ("host-0", "host-1")}
    return Books(
        jobs=(),
        asked=(),
        idempotent=True,
        ledger=Ledger({EXECUTION: Entry(cast(Any, None), {1: record})}),
        effects=(),
        logs=logs,
        happened=Happened(lives, [], timedelta(seconds=10)),
        looks=looks,
    )


def test_looks_that_each_know_of_those_before_balance() -> None:
    assert list(look_faults(books())) == []
    figures = told(books())
    assert (figures["seconds that steps waited"], figures["seconds of their looks"]) == (118, 3)


@pytest.mark.parametrize(
    ("looks", "outcome", "waits", "fault"),
    [
        (LOOKS[:2], "success", 2, "succeeded without a last look"),
        (LOOKS[1:], "success", 2, "look 1 is known to a later one, and is not there"),
        ((LOOKS[0], look(1, "b"), LOOKS[2]), "success", 2, "look 2 knew of ()"),
        ((*LOOKS, AGAIN), "success", 2, "look 2 on host-0"),
        ((*LOOKS, replace(LOOKS[2], token="y")), "success", 2, "look 3 on host-0"),
        (LOOKS, "cancelled", 2, "look 3 on host-0"),
        (LOOKS[:2], "lost", 1, "it waited, and counts as lost"),
        (LOOKS[:1], "cancelled", 1, "its outside work was not ended"),
        (LOOKS, "success", 3, "3 waits are recorded, more than there were looks"),
        ((*LOOKS, look(3, "z", "a", "b", kind=LookKind.STOP)), "success", 2, "was ended"),
        ((replace(LOOKS[0], attempt=2), *LOOKS), "success", 2, "a look, and no record"),
    ],
)
def test_a_look_that_must_not_be_is_found(
    looks: tuple[Look, ...], outcome: str, waits: int, fault: str
) -> None:
    assert fault in "\n".join(look_faults(books(looks, outcome, waits)))


def test_a_step_that_is_cancelled_while_it_waits_and_is_told_to_stop_balances() -> None:
    looks = (LOOKS[0], look(1, "z", "a", kind=LookKind.STOP))
    assert list(look_faults(books(looks, "cancelled", 1))) == []


def test_a_look_after_the_stop_is_found() -> None:
    looks = (LOOKS[0], look(1, "z", "a", kind=LookKind.STOP), look(2, "b", "a"))
    assert "after the outside work was ended" in "\n".join(
        look_faults(books(looks, "cancelled", 1))
    )


def test_a_look_done_again_has_a_reason_where_its_host_stood_still() -> None:
    found = books((*LOOKS, AGAIN))
    spell = Spell("host-0", AGAIN.committed, AGAIN.committed + timedelta(seconds=50))
    happened = replace(found.happened, spells=[spell])
    assert list(look_faults(replace(found, happened=happened))) == []
    assert told(found)["looks left twice"] == 1
