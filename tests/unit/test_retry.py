import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.execution.rules.retry import MAX_DELAY_SECONDS, retry_delay


@pytest.mark.parametrize(
    ("base", "failures", "delay"),
    [(30, 1, 30), (30, 2, 60), (30, 3, 120), (1, 10, 512), (30, 8, 3600), (3600, 20, 3600)],
)
def test_the_delay_doubles_up_to_an_hour_and_strays_by_a_tenth_at_most(
    base: float, failures: int, delay: float
) -> None:
    delays = [retry_delay(base, failures, f"run:{number}") for number in range(200)]
    assert 0.9 * delay <= min(delays) < 0.93 * delay
    assert 1.07 * delay < max(delays) <= 1.1 * delay


@given(st.floats(1, 3600), st.integers(1, 40), st.text())
def test_whoever_computes_a_delay_again_gets_the_same(
    base: float, failures: int, seed: str
) -> None:
    delay = retry_delay(base, failures, seed)
    assert delay == retry_delay(base, failures, seed)
    assert 0 < delay <= 1.1 * MAX_DELAY_SECONDS


def test_steps_that_fail_together_are_not_all_tried_again_together() -> None:
    assert len({retry_delay(30, 1, f"run:{step}") for step in "abcdefgh"}) == 8
