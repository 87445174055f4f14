"""The engine walked at random: whatever comes in whatever order, its promises hold.

A Hypothesis state machine makes jobs and runs on Azurite, and decides which message is handled
next, which comes twice or never, when the process dies, when the timers come, what steps do.
"""

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.storage.faults import ALL, LONG, SEED
from tests.storage.machine import EngineMachine

pytestmark = [pytest.mark.faults, pytest.mark.timeout(LONG if ALL else 180)]
WALKS = settings(
    max_examples=10 if ALL else 3,  # beyond ten Hypothesis varies those it had
    stateful_step_count=40 if ALL else 15,
    deadline=None,
    database=None,
    phases=(Phase.generate,),
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.parametrize("start", range(SEED, SEED + 40) if ALL else range(2))
def test_whatever_happens_in_whatever_order_the_promises_hold(azurite: str, start: int) -> None:
    @seed(start)
    class Machine(EngineMachine):
        pass

    Machine.azurite = azurite
    run_state_machine_as_test(Machine, settings=WALKS)
