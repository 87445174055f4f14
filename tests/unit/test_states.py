import ast
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import IllegalTransition
from scheduler.execution.rules.states import (
    RUN_MOVES,
    STEP_MOVES,
    RunEvent,
    RunState,
    StepEvent,
    StepStatus,
    next_run_state,
    next_step_status,
)

SCHEDULER = Path(__file__).parents[2] / "scheduler"
READS_ROWS = "execution/records.py"
"""Makes executions of rows, in whatever state they are."""
TABLE = ("next_run_state", "next_step_status")


@pytest.mark.parametrize(("state", "event"), list(product(RunState, RunEvent)))
def test_an_execution_moves_by_the_table_or_says_what_it_cannot(
    state: RunState, event: RunEvent
) -> None:
    if (state, event) in RUN_MOVES:
        assert next_run_state(state, event) is RUN_MOVES[state, event]
        return
    with pytest.raises(IllegalTransition) as refusal:
        next_run_state(state, event)
    assert state.value in refusal.value.message
    assert event.value in refusal.value.message


@pytest.mark.parametrize(("status", "event"), list(product(StepStatus, StepEvent)))
def test_a_step_moves_by_the_table_or_says_what_it_cannot(
    status: StepStatus, event: StepEvent
) -> None:
    if (status, event) in STEP_MOVES:
        assert next_step_status(status, event) is STEP_MOVES[status, event]
        return
    with pytest.raises(IllegalTransition) as refusal:
        next_step_status(status, event)
    assert status.value in refusal.value.message
    assert event.value in refusal.value.message


def test_nothing_leaves_a_finished_state_and_every_other_can_be_left() -> None:
    assert {state for state, _ in RUN_MOVES} == {one for one in RunState if not one.finished}
    assert {one for one, _ in STEP_MOVES} == {one for one in StepStatus if not one.finished}


def test_every_state_but_the_first_is_reached_by_some_event() -> None:
    assert set(RUN_MOVES.values()) == set(RunState) - {RunState.PENDING}
    assert set(STEP_MOVES.values()) == set(StepStatus) - {StepStatus.PENDING}


def test_every_event_is_of_use() -> None:
    assert {event for _, event in RUN_MOVES} == set(RunEvent)
    assert {event for _, event in STEP_MOVES} == set(StepEvent)


def test_one_event_at_most_leads_from_one_state_to_another() -> None:
    of_runs = Counter((state, target) for (state, _), target in RUN_MOVES.items())
    of_steps = Counter((status, target) for (status, _), target in STEP_MOVES.items())
    assert {*of_runs.values(), *of_steps.values()} == {1}


def test_an_unfinished_execution_or_step_can_always_be_cancelled() -> None:
    for state in RunState:
        assert ((state, RunEvent.IS_CANCELLED) in RUN_MOVES) is not state.finished
    for status in StepStatus:
        assert ((status, StepEvent.IS_CANCELLED) in STEP_MOVES) is not status.finished


@settings(deadline=None)
@given(st.lists(st.sampled_from(RunEvent)))
def test_an_execution_ends_once_whatever_happens_to_it(events: list[RunEvent]) -> None:
    state, ends = RunState.PENDING, 0
    for event in events:
        try:
            state = next_run_state(state, event)
        except IllegalTransition:
            continue
        ends += state.finished
    assert ends == state.finished


@settings(deadline=None)
@given(st.lists(st.sampled_from(StepEvent)))
def test_a_step_ends_once_whatever_happens_to_it(events: list[StepEvent]) -> None:
    status, ends = StepStatus.PENDING, 0
    for event in events:
        try:
            status = next_step_status(status, event)
        except IllegalTransition:
            continue
        ends += status.finished
    assert ends == status.finished


def changes_around_the_table(source: str, where: str = "") -> list[str]:
    """Where code sets the state of an execution or of a step without asking the table."""
    found = []
    for call, records in _calls(ast.parse(source), frozenset()):
        name = _last_name(call.func)
        words = {one.arg: one.value for one in call.keywords}
        values = [words[word] for word in ("state", "status") if word in words]
        made = name in ("Run", "StepState") and where != READS_ROWS
        copied = name in ("replace", "__replace__") and not _is_of(call, records)
        by_the_table = all(
            isinstance(value, ast.Call) and _last_name(value.func) in TABLE for value in values
        )
        hidden = None in words and not values
        if name == "__setattr__" or ((made or copied) and (hidden or not by_the_table)):
            found.append(f"{where}:{call.lineno}: {ast.unparse(call)}")
    return found


def _calls(node: ast.AST, records: frozenset[str]) -> Iterator[tuple[ast.Call, frozenset[str]]]:
    """All calls, each with the names that are rows of steps there: their status is a copy."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        named = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        records = frozenset(
            one.arg
            for one in named
            if one.annotation is not None and ast.unparse(one.annotation) == "StepRecord"
        )
    if isinstance(node, ast.Call):
        yield node, records
    for child in ast.iter_child_nodes(node):
        yield from _calls(child, records)


def _is_of(call: ast.Call, names: frozenset[str]) -> bool:
    return bool(call.args) and isinstance(call.args[0], ast.Name) and call.args[0].id in names


def _last_name(node: ast.expr) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def test_no_code_changes_a_state_around_the_table() -> None:
    files = sorted(SCHEDULER.rglob("*.py"))
    assert any(file == SCHEDULER / READS_ROWS for file in files)
    found = [
        change
        for file in files
        for change in changes_around_the_table(
            file.read_text("utf-8"), file.relative_to(SCHEDULER).as_posix()
        )
    ]
    assert found == []


@pytest.mark.parametrize(
    "code",
    [
        "replace(run, state=RunState.FAILED)",
        "dataclasses.replace(run, state=RunState.FAILED)",
        "run.__replace__(state=RunState.FAILED)",
        "copy.replace(step, fence=None, status=StepStatus.FAILED)",
        "replace(step, **changes)",
        "replace(runs[0], state=state)",
        "Run(steps=(), state=RunState.FAILED)",
        "StepState(id=step.id, status=StepStatus.FAILED)",
        "StepState(**document)",
        "object.__setattr__(run, 'state', RunState.FAILED)",
        "def end(run: Run): return replace(run, state=RunState.FAILED)",
        "def end(record: StepRecord, step: StepState): replace(step, status=record.status)",
    ],
)
def test_code_that_would_change_a_state_around_the_table_is_found(code: str) -> None:
    assert len(changes_around_the_table(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "replace(run, slot=None)",
        "replace(self, state=next_run_state(self.state, event), **changes)",
        "StepState(id=step.id)",
        "def close(record: StepRecord): return replace(record, status=StepStatus.FAILED)",
        "ControlWord(state=state)",
    ],
)
def test_code_that_leaves_states_to_the_table_is_not_complained_of(code: str) -> None:
    assert changes_around_the_table(code) == []
