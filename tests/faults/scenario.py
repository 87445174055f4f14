"""What a scenario is, and what has to be at its end, whatever was done to its requests."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from scheduler.execution.rules.states import RunState, StepStatus
from tests.faults.case import Case

ENDED_CANCELLED = (StepStatus.CANCELLED, "lost")
CLEAN_UP = frozenset({"tidy"})
"""The steps that run after a cancel, too."""

type Play = Callable[[Case], AsyncIterator[None]]


@dataclass(frozen=True)
class Scenario:
    """A way that executions take.

    `play` sets up, yields, and goes on: from the yield on, its requests may break. `attempts`:
    the outcomes of a step's attempts, where they are not just one success.
    """

    play: Play
    status: str = RunState.SUCCESS
    attempts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    sampled: int = 2
    """How many of its places are tried where not all are."""
    side_by_side: int = 1
    """How many of its attempts may be lost with one worker."""

    @property
    def name(self) -> str:
        """What its job ids begin with."""
        return self.play.__name__.replace("_", "-")

    def of(self, step: str) -> tuple[str, ...]:
        """The outcomes of a step's attempts when nothing is broken."""
        return self.attempts.get(step, (StepStatus.SUCCESS,))


@dataclass(frozen=True)
class Allowed:
    """What a fault may have cost: attempts that were lost, and those of them that had begun."""

    lost: int
    begun: int


async def verdict(scenario: Scenario, case: Case, allowed: Allowed) -> str:
    """What became of the executions of a case, in words.

    Raises:
        AssertionError: it is not right.
    """
    bodies = [await case.sim.read(one) for one in await _executions(case)]
    lost = [0, 0]
    for body in bodies:
        assert RunState(body["status"]).finished, body
        if body["execution_id"] in case.cancelled:
            _check_cancelled(scenario, case, body)
        else:
            _check_ended(scenario, body)
        _count_lost(case, body, lost)
        await _check_listed(case, body)
    wide = scenario.side_by_side
    assert lost[0] <= allowed.lost * wide, f"{lost[0]} attempts were lost"
    assert lost[1] <= allowed.begun * wide, f"{lost[1]} attempts that were lost had begun"
    await case.sim.assert_nothing_left()
    words = sorted({str(body["status"]) for body in bodies}) or ["never made"]
    return ", ".join(words) + (", an attempt lost" if lost[0] > case.deaths else "")


async def _executions(case: Case) -> list[str]:
    """The executions of a case's jobs: those that it knows of, and no other but of `ask_for`."""
    found: list[str] = []
    for job_id in case.job_ids:
        rows = case.sim.storage.executions.query(job_id, "r:", "r;")
        found += [str(row.values["execution_id"]) async for row in rows]
    assert set(case.executions) <= set(found), (case.executions, found)
    return found


def _check_ended(scenario: Scenario, body: dict[str, Any]) -> None:
    """An execution that nobody cancelled took its way."""
    assert body["status"] == scenario.status, body
    for step in body["steps"]:
        outcomes = _outcomes(step)
        expected = () if step["status"] == StepStatus.SKIPPED else scenario.of(step["step_id"])
        assert _is_way(outcomes, expected), (step["step_id"], outcomes, body)


def _is_way(outcomes: list[str], expected: tuple[str, ...]) -> bool:
    """Whether the attempts are those expected; one that was lost may stand for another."""
    if tuple(outcomes) == expected:
        return True
    kept = tuple(one for one in outcomes if one != "lost")
    lost = len(outcomes) - len(kept)
    wanted = tuple(one for one in expected if one != "lost")
    return lost > 0 and kept in (wanted, wanted[lost:])


def _check_cancelled(scenario: Scenario, case: Case, body: dict[str, Any]) -> None:
    """A cancelled execution ended so, unless the cancel came too late or never reached storage."""
    reply = case.replies.get(body["execution_id"])
    if reply is not None:
        later = case.sim.script.ran[reply.begun :]
        steps = [
            one.step
            for one in later
            if one.execution_id == body["execution_id"] and one.step not in CLEAN_UP
        ]
        assert not Counter(steps) - Counter(_running(reply.body)), f"{steps} after the cancel"
    if body["status"] != RunState.CANCELLED:
        _check_ended(scenario, body)
        running = reply is not None and _running(reply.body)
        assert running or body.get("cancel") is None, body
        ended = reply is not None and reply.body["status"] == body["status"]
        assert reply is None or running or ended or _only_cleans_up(reply.body), (reply, body)
        return
    for step in body["steps"]:
        outcomes = list(takewhile(lambda one: one not in ENDED_CANCELLED, _outcomes(step)))
        assert scenario.of(step["step_id"])[: len(outcomes)] == tuple(outcomes), body
        assert StepStatus(step["status"]).finished, body


def _only_cleans_up(body: dict[str, Any]) -> bool:
    """Whether a cancel said that it came too late, and rightly."""
    told = any(one["code"] == "only_cleaning_up" for one in body.get("warnings", ()))
    left = {one["step_id"] for one in body["steps"] if not StepStatus(one["status"]).finished}
    return told and left <= CLEAN_UP


def _running(body: dict[str, Any]) -> list[str]:
    return [step["step_id"] for step in body["steps"] if step["status"] == StepStatus.RUNNING]


def _outcomes(step: dict[str, Any]) -> list[str]:
    return [str(one["outcome"]) for one in step["attempt_history"]]


def _count_lost(case: Case, body: dict[str, Any], lost: list[int]) -> None:
    """Each recorded attempt ran once, and no other did; one that was lost may not have begun."""
    ran = Counter(
        (one.step, one.attempt)
        for one in case.sim.script.ran
        if one.execution_id == body["execution_id"] and one.state is None
    )
    for step in body["steps"]:
        for attempt in step["attempt_history"]:
            times = ran.pop((step["step_id"], attempt["attempt"]), 0)
            is_lost = attempt["outcome"] == "lost" or attempt["error_code"] == "step_interrupted"
            died = is_lost or "died" in (attempt["error_message"] or "")
            assert times == 1 or (times == 0 and died), (step["step_id"], attempt, times)
            lost[0] += died
            lost[1] += died and times
    assert not ran, f"attempts that nobody recorded: {ran}"


async def _check_listed(case: Case, body: dict[str, Any]) -> None:
    """It stands once in the list of the day on which it ended."""
    day = f"{body['end_time']:%Y%m%d}"
    days = (day,) if body["status"] == RunState.SUCCESS else (day, f"{day}!")
    for one in days:
        rows = case.sim.storage.days.query(one, "", "~")
        states = [
            str(row.values["state"])
            async for row in rows
            if row.values["execution_id"] == body["execution_id"]
        ]
        assert states == [body["status"]], (one, states, body["status"])
