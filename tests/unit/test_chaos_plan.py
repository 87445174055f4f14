"""The plan of a chaos run: it follows from its seed, and leaves hosts to go on."""

from datetime import UTC, datetime, timedelta

import pytest

from chaos.jobs import ZONES, chaos_jobs
from chaos.plan import CLOCK_DISTANCE_SECONDS, Deed, make_plan

BEGIN = datetime(2026, 11, 24, 5, 17, 3, 250_000, tzinfo=UTC)


def test_the_same_seed_makes_the_same_plan() -> None:
    assert make_plan(7, 3) == make_plan(7, 3)
    assert make_plan(7, 3) != make_plan(8, 3)


@pytest.mark.parametrize("seed", range(20))
def test_three_minutes_hold_every_kind_of_fault_and_over_200_executions(seed: int) -> None:
    plan = make_plan(seed, 3)
    jobs = chaos_jobs(BEGIN, plan.seconds, plan.step_seconds, plan.once_at)
    assert {event.deed for event in plan.events} == set(Deed)
    assert len(plan.asks) + sum(len(job.instants) for job in jobs) > 200
    assert {str(job.body["timezone"]) for job in jobs} == set(ZONES)
    assert max(plan.clocks) - min(plan.clocks) == CLOCK_DISTANCE_SECONDS


@pytest.mark.parametrize("seed", range(20))
def test_only_a_host_that_runs_is_killed_or_frozen(seed: int) -> None:
    away: list[tuple[int | None, float, float]] = []
    for event in make_plan(seed, 5).events:
        if event.place is None:
            continue
        assert not any(
            place == event.place and since <= event.at < until for place, since, until in away
        )
        away.append((event.place, event.at, event.at + event.seconds))


def test_the_instants_of_a_repeated_job_are_those_between_its_start_and_its_end() -> None:
    jobs = {job.job_id: job for job in chaos_jobs(BEGIN, 60, (1, 1, 1), ())}
    first, *_, last = jobs["every-london"].instants
    assert first == BEGIN.replace(second=30, microsecond=0)
    assert last == BEGIN.replace(second=0, microsecond=0) + timedelta(minutes=1)
