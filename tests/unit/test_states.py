from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.errors import IllegalTransition
from scheduler.execution.states import (
    RUN_MOVES,
    STEP_MOVES,
    RunEvent,
    RunState,
    StepEvent,
    StepStatus,
    next_run_state,
    next_step_status,
)


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


def test_an_unfinished_execution_or_step_can_always_be_cancelled() -> None:
    for state in RunState:
        assert ((state, RunEvent.IS_CANCELLED) in RUN_MOVES) is not state.finished
    for status in StepStatus:
        assert ((status, StepEvent.IS_CANCELLED) in STEP_MOVES) is not status.finished


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
