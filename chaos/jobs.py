"""The jobs of a run: steps in chains and branches that leave effects in a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from chaos.waiting_step import WaitingStep
from scheduler.execution.rules.states import RunState
from scheduler.schedule import next_runs

DECLARED = ("Europe/London", "America/New_York")
UNDECLARED = "Asia/Kathmandu"
ZONES = (*DECLARED, UNDECLARED)
CONNECTION = "effects"
STEPS = ("first", "second", "third")
LEAVE_EFFECT = "SELECT leave_effect(?, ?, CAST(? AS int), CAST(? AS float8), CAST(? AS int))"
START_SECONDS = 25
"""When the schedules begin, from the beginning of the run: not in the past of a fast clock."""
LEAST_SPAN_SECONDS = 20
NEVER_MIND = 99
WAITING_TIMEOUT_SECONDS = 360
"""More than any wait takes; a look that was parked leaves a `wake:` row until then."""
FAN = 10

SUCCESS = frozenset({RunState.SUCCESS})
FAILED = frozenset({RunState.FAILED})
MAY_BE_SKIPPED = frozenset({RunState.SUCCESS, RunState.SKIPPED})


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedJob:
    """A job that is run by hand, `a_minute` times; `before`: only in the first seconds.

    Its second step fails at `fails` first attempts; not in one transaction when `bare`. `shape` is
    `chain`, `diamond`, `fan` (ten wide), `tidied` (a chain and a step that always runs) or
    `waiting` (a chain whose second step waits for outside work, `waits` times).
    """

    job_id: str
    timezone: str
    a_minute: float
    fails: int = 0
    max_retries: int = 3
    retry_delay: int = 2
    bare: bool = False
    before: float | None = None
    ends: frozenset[RunState] = SUCCESS
    shape: str = "chain"
    waits: int = 3
    check_in_seconds: float = 4


def _in_zone(timezone: str) -> list[AskedJob]:
    word = timezone.rpartition("/")[2].lower().replace("_", "-")
    return [
        AskedJob(job_id=f"steady-{word}", timezone=timezone, a_minute=6),
        AskedJob(job_id=f"flaky-{word}", timezone=timezone, a_minute=4, fails=2),
        AskedJob(job_id=f"bare-{word}", timezone=timezone, a_minute=3, bare=True),
        AskedJob(
            job_id=f"doomed-{word}",
            timezone=timezone,
            a_minute=1,
            fails=NEVER_MIND,
            max_retries=1,
            ends=FAILED,
            shape="tidied",
        ),
        AskedJob(job_id=f"diamond-{word}", timezone=timezone, a_minute=2, shape="diamond"),
        AskedJob(job_id=f"fan-{word}", timezone=timezone, a_minute=0.5, shape="fan"),
        AskedJob(job_id=f"waiting-{word}", timezone=timezone, a_minute=4, shape="waiting"),
    ]


ASKED = (
    *(job for zone in ZONES for job in _in_zone(zone)),
    AskedJob(job_id="sleepy", timezone=DECLARED[1], a_minute=2, fails=1, retry_delay=70, before=60),
    AskedJob(
        job_id="wakeful", timezone=UNDECLARED, a_minute=1, fails=1, retry_delay=130, before=30
    ),
    AskedJob(
        job_id="patient",
        timezone=DECLARED[0],
        a_minute=2,
        before=60,
        shape="waiting",
        waits=2,
        check_in_seconds=65,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosJob:
    """A job as it is stored, the states that its executions may end in, and its instants.

    `alone`: no two executions of it may run at once.
    """

    body: Mapping[str, Any]
    ends: frozenset[RunState]
    instants: tuple[datetime, ...] = ()
    alone: bool = False

    @property
    def job_id(self) -> str:
        """Its id."""
        return str(self.body["id"])


def chaos_jobs(
    begin: datetime,
    seconds: float,
    step_seconds: Sequence[float],
    once_at: Sequence[tuple[str, float]],
) -> list[ChaosJob]:
    """All jobs of a run that begins at an instant and lasts so many seconds."""
    jobs = [_asked(job, step_seconds) for job in ASKED]
    span = (begin + timedelta(seconds=START_SECONDS), begin + timedelta(seconds=seconds))
    if seconds >= START_SECONDS + LEAST_SPAN_SECONDS:
        jobs += [_every(zone, span, step_seconds) for zone in ZONES]
        jobs += [_alone(span, step_seconds), _line(span, step_seconds)]
    for number, (zone, at) in enumerate(once_at):
        instant = (begin + timedelta(seconds=at)).replace(microsecond=0)
        jobs.append(_once(number, zone, instant, step_seconds))
    return jobs


def _asked(job: AskedJob, step_seconds: Sequence[float]) -> ChaosJob:
    body = {
        "id": job.job_id,
        "name": job.job_id,
        "timezone": job.timezone,
        "max_retries": job.max_retries,
        "retry_delay": job.retry_delay,
        "steps": _shaped(job, step_seconds),
    }
    return ChaosJob(body=body, ends=job.ends)


def _shaped(job: AskedJob, step_seconds: Sequence[float]) -> list[dict[str, Any]]:
    short = min(step_seconds)
    match job.shape:
        case "diamond":
            sides = [_step(name, short, depends_on=["first"]) for name in ("left", "right")]
            join = _step("join", short, depends_on=["left", "right"])
            return [_step("first", short, depends_on=[]), *sides, join]
        case "fan":
            wide = [_step(f"wide_{place}", short, depends_on=[]) for place in range(FAN)]
            return [*wide, _step("join", short, depends_on=[step["id"] for step in wide])]
        case "waiting":
            first, _, third = _steps(step_seconds)
            return [first, _waiting(job, short), third]
        case "tidied":
            return [*_steps(step_seconds, fails=job.fails), _step("tidy", short, run_if="always")]
        case _:
            return _steps(step_seconds, fails=job.fails, bare=job.bare)


def _every(zone: str, span: tuple[datetime, datetime], step_seconds: Sequence[float]) -> ChaosJob:
    word = zone.rpartition("/")[2].lower().replace("_", "-")
    return _repeated(f"every-{word}", zone, "*/10", span, "allow", _steps(step_seconds))


def _alone(span: tuple[datetime, datetime], step_seconds: Sequence[float]) -> ChaosJob:
    steps = _steps([2 * one for one in step_seconds])
    return _repeated("alone", DECLARED[0], "*/10", span, "skip", steps)


def _line(span: tuple[datetime, datetime], step_seconds: Sequence[float]) -> ChaosJob:
    return _repeated("line", UNDECLARED, "*/15", span, "queue", _steps(step_seconds))


def _repeated(
    job_id: str,
    zone: str,
    seconds: str,
    span: tuple[datetime, datetime],
    overlap: str,
    steps: list[dict[str, Any]],
) -> ChaosJob:
    expression = f"{seconds} * * * * *"
    start, end = span
    count = int((end - start).total_seconds()) + 1
    before = start - timedelta(microseconds=1)
    instants = [one for one in next_runs(expression, zone, before, count) if one < end]
    body = {
        "id": job_id,
        "name": job_id,
        "timezone": zone,
        "schedule": {
            "type": "cron",
            "expression": expression,
            "overlap": overlap,
            "catch_up": "all",
            "start_at": start.isoformat(),
            "end_at": end.isoformat(),
        },
        "steps": steps,
    }
    return ChaosJob(
        body=body,
        ends=SUCCESS if overlap == "allow" else MAY_BE_SKIPPED,
        instants=tuple(instants),
        alone=overlap != "allow",
    )


def _once(number: int, zone: str, instant: datetime, step_seconds: Sequence[float]) -> ChaosJob:
    body = {
        "id": f"once-{number}",
        "name": f"once-{number}",
        "timezone": zone,
        "schedule": {"type": "once", "expression": instant.isoformat()},
        "steps": _steps(step_seconds),
    }
    return ChaosJob(body=body, ends=SUCCESS, instants=(instant,))


def _steps(
    step_seconds: Sequence[float], *, fails: int = 0, bare: bool = False
) -> list[dict[str, Any]]:
    first, second, third = step_seconds
    return [
        _step(STEPS[0], first),
        _step(STEPS[1], second, fails=fails, bare=bare),
        _step(STEPS[2], third),
    ]


def _waiting(job: AskedJob, seconds: float) -> dict[str, Any]:
    return {
        "id": STEPS[1],
        "type": WaitingStep.type,
        "timeout": WAITING_TIMEOUT_SECONDS,
        "config": {
            "connection_name": CONNECTION,
            "waits": job.waits,
            "check_in_seconds": job.check_in_seconds,
            "look_seconds": seconds,
        },
    }


def _step(
    step_id: str,
    seconds: float,
    *,
    fails: int = 0,
    bare: bool = False,
    **fields: Any,  # noqa: ANN401
) -> dict[str, Any]:
    parameters = ["{{execution_id}}", step_id, "{{attempt}}", seconds, fails]
    return {
        "id": step_id,
        "type": "sql",
        "connection_name": CONNECTION,
        "query": LEAVE_EFFECT,
        "parameters": parameters,
        "transaction": not bare,
        **fields,
    }
