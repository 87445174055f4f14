"""The balance sheet of a chaos run: each thing that must not be is found."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from chaos.asker import Asked
from chaos.balance import Sheet, balance
from chaos.books import Books, Happened
from chaos.effects import Effect
from chaos.hostlog import HostLogs
from chaos.jobs import STEPS, SUCCESS, ChaosJob
from chaos.ledger import LEFT_OVERS, Entry, Ledger
from chaos.plan import Ask
from chaos.weather import Spell
from scheduler.dispatch.ids import Trigger, manual_id
from scheduler.execution.rules.model import Attempt, Run, StepRecord, StepState
from scheduler.execution.rules.states import RunState, StepStatus
from scheduler.jobs.model import StepId
from tools.fleet import Life
from tools.process import DevHost

NOW = datetime(2026, 11, 24, 5, 17, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)
LEASE = timedelta(seconds=10)
EXECUTION = manual_id("steady", NOW)
WHATEVER = cast(Any, None)


def life(name: str, *, killed_at: datetime | None = None) -> Life:
    return Life(
        place=0,
        name=name,
        clock_seconds=0,
        host=cast(DevHost, WHATEVER),
        log_path=Path(name),
        started=NOW,
        ended=killed_at,
        killed=killed_at is not None,
    )


def record(place: int, *outcomes: str) -> StepRecord:
    """A step's record; its attempts begin a minute apart."""
    attempts = tuple(
        Attempt(number=number, outcome=outcome, start_time=NOW + timedelta(minutes=number - 1))
        for number, outcome in enumerate(outcomes, 1)
    )
    return StepRecord(
        id=StepId(STEPS[place]),
        name=STEPS[place],
        type="sql",
        status=StepStatus(outcomes[-1]),
        attempts=attempts,
        fence=None,
        lease_until=None,
    )


def books(first: StepRecord | None = None, *, effects: list[Effect] | None = None) -> Books:
    """One execution that was asked for; `first`: its first step, `effects`: all of that step."""
    records = {0: first or record(0, "success"), 1: record(1, "success"), 2: record(2, "success")}
    run = Run(
        execution_id=EXECUTION,
        job_name="steady",
        timezone="Europe/London",
        definition="",
        trigger=Trigger.MANUAL,
        scheduled_time=NOW,
        created_at=NOW,
        deadline=LATER,
        progress_at=NOW,
        start_time=NOW,
        end_time=LATER,
        state=RunState.SUCCESS,
        steps=tuple(StepState(id=one.id, status=one.status) for one in records.values()),
    )
    ledger = Ledger({EXECUTION: Entry(run, records)}, left_over=dict.fromkeys(LEFT_OVERS, 0))
    ledger.days[EXECUTION] = 1
    mine = [effect(0, 1)] if effects is None else effects
    logs = HostLogs()
    for place, one in records.items():
        for attempt in one.attempts:
            logs.hosts[EXECUTION, STEPS[place], attempt.number].append(f"host-{attempt.number}")
    asked = Asked(Ask(at=0, job_id="steady", key="ask-1"), execution_id=EXECUTION, tries=1)
    return Books(
        jobs=[ChaosJob(body={"id": "steady"}, ends=SUCCESS)],
        asked=[asked],
        idempotent=True,
        ledger=ledger,
        effects=[*mine, effect(1, 1), effect(2, 1)],
        logs=logs,
        happened=Happened({name: life(name) for name in ("host-1", "host-2")}, [], LEASE),
    )


def effect(place: int, attempt: int, *, committed: datetime = NOW) -> Effect:
    return Effect(EXECUTION, STEPS[place], attempt, f"host-{attempt}", committed)


def faults(sheet: Sheet) -> str:
    return "\n".join(fault for line in sheet.lines for fault in line.faults)


TWICE = [effect(0, 1), effect(0, 2, committed=LATER)]
LOST_ONCE = record(0, "lost", "success")


def test_a_run_in_which_all_is_well_balances() -> None:
    assert balance(books()).balances


def test_an_execution_that_is_not_recorded_is_lost() -> None:
    found = replace(books(), ledger=Ledger(), effects=[], logs=HostLogs())
    assert f"lost: {EXECUTION}" in faults(balance(found))


def test_a_scheduled_execution_that_is_not_recorded_is_lost() -> None:
    job = ChaosJob(body={"id": "every"}, ends=SUCCESS, instants=(NOW,))
    found = books()
    assert "lost: every.20261124T051700Z" in faults(
        balance(replace(found, jobs=[*found.jobs, job]))
    )


def test_an_execution_that_nobody_asked_for_is_found() -> None:
    assert "nobody asked for" in faults(balance(replace(books(), asked=[])))


def test_a_second_effect_of_a_step_is_found_unless_an_attempt_is_lost() -> None:
    assert "attempt 1 left 2 effects" in faults(
        balance(books(effects=[effect(0, 1), effect(0, 1)]))
    )
    assert "which is not recorded" in faults(balance(books(effects=TWICE)))


def test_an_effect_of_a_lost_attempt_needs_a_reason() -> None:
    found = books(LOST_ONCE, effects=TWICE)
    assert "counts as lost, though nothing was away" in faults(balance(found))


@pytest.mark.parametrize("spell_host", [None, "host-1"])
def test_an_outage_or_a_frozen_host_is_a_reason(spell_host: str | None) -> None:
    spell = Spell(spell_host, NOW - timedelta(seconds=1), LATER)
    happened = Happened({"host-1": life("host-1"), "host-2": life("host-2")}, [spell], LEASE)
    assert balance(replace(books(LOST_ONCE, effects=TWICE), happened=happened)).balances


def test_a_kill_right_after_the_commit_is_a_reason_and_one_much_later_is_none() -> None:
    for after, balances in ((LEASE / 2, True), (LEASE * 3, False)):
        lives = {"host-1": life("host-1", killed_at=NOW + after), "host-2": life("host-2")}
        happened = Happened(lives, [], LEASE)
        found = replace(books(LOST_ONCE, effects=TWICE), happened=happened)
        assert balance(found).balances is balances


def test_a_dead_attempt_that_commits_after_the_next_has_begun_is_found() -> None:
    late = [effect(0, 1, committed=LATER + timedelta(seconds=5)), TWICE[1]]
    assert "committed after the next had begun" in faults(balance(books(LOST_ONCE, effects=late)))


def test_an_effect_of_an_attempt_that_failed_is_found() -> None:
    found = books(record(0, "failed", "success"), effects=TWICE)
    assert "whose outcome is failed" in faults(balance(found))


def test_a_success_without_an_effect_is_found() -> None:
    assert "left no effect" in faults(balance(books(effects=[])))


def test_an_attempt_that_two_hosts_began_is_found() -> None:
    found = books()
    found.logs.hosts[EXECUTION, STEPS[0], 1].append("host-2")
    assert "began on host-1, host-2" in faults(balance(found))


def test_what_is_left_over_and_a_missing_day_row_are_found() -> None:
    found = books()
    found.ledger.left_over["slot:"] = 2
    found.ledger.days = Counter()
    assert "2 of slot:" in faults(balance(found))
    assert f"{EXECUTION}, success: 0 and 0 rows" in faults(balance(found))
