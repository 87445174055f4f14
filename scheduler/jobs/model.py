"""What a job is: its steps, its schedule, its policies. Plain data, no I/O.

Limits are checked by the wire model (`scheduler.api.job_body`); what is here is valid.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, NewType, Self

JobId = NewType("JobId", str)
StepId = NewType("StepId", str)
LONGEST_CALL_SECONDS = 6_900
"""Of a step's code: the host ends a call after two hours. What takes longer has to be deferrable.
"""
LONGEST_JOB_SECONDS = 604_800
Json = Any
"""A JSON value: None, bool, int, float, str, list or dict of these."""


class ScheduleType(StrEnum):
    """How a schedule's expression is read."""

    CRON = "cron"
    INTERVAL = "interval"
    ONCE = "once"


class Overlap(StrEnum):
    """What happens to a run that comes due while another of its job is unfinished."""

    SKIP = "skip"
    ALLOW = "allow"
    QUEUE = "queue"


class CatchUp(StrEnum):
    """Which of the runs that were missed are made up for."""

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class OnInterrupt(StrEnum):
    """What happens to a step whose worker died."""

    RETRY = "retry"
    FAIL = "fail"


class RunIf(StrEnum):
    """When a step runs, by the outcome of the steps that it depends on."""

    SUCCESS = "success"
    FAILURE = "failure"
    ALWAYS = "always"


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a job runs. `expression` is as its author wrote it; instants are derived."""

    type: ScheduleType
    expression: str
    anchor: datetime | None = None
    start_at: datetime | None = None
    end_at: datetime | None = None
    jitter_seconds: int = 0
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window_seconds: int = 3600
    overlap: Overlap = Overlap.SKIP


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One step of a job: what runs (`type`, `config`) and under which rules."""

    id: StepId
    name: str
    type: str
    config: Mapping[str, Json]
    timeout: float = 300
    max_retries: int = 0
    retry_delay: float = 30
    continue_on_failure: bool = False
    on_interrupt: OnInterrupt = OnInterrupt.RETRY
    depends_on: tuple[StepId, ...] | None = None
    run_if: RunIf = RunIf.SUCCESS
    publish: tuple[str, ...] = ()

    @property
    def cleans_up(self) -> bool:
        """Whether it also runs after a failure, a cancel or the end of the job's time."""
        return self.run_if is not RunIf.SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job's definition: the unit that is stored, hashed and run."""

    id: JobId
    name: str
    description: str = ""
    timezone: str = "UTC"
    enabled: bool = True
    steps: tuple[StepSpec, ...] = ()
    schedule: Schedule | None = None
    max_retries: int = 0
    retry_delay: float = 30
    timeout_seconds: float = 3600
    max_parallel: int = 8
    priority: int = 0
    on_failure: Mapping[str, Json] | None = None
    on_success: Mapping[str, Json] | None = None
    on_late: Mapping[str, Json] | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, Json] = field(default_factory=dict)

    @property
    def step_types(self) -> frozenset[str]:
        """The types of all its steps."""
        return frozenset(step.type for step in self.steps)

    def to_json(self) -> bytes:
        """The canonical text of this definition, UTF-8; equal jobs have equal text."""
        document = asdict(self)
        return json.dumps(
            document, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=plain_json
        ).encode()

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical text, in hexadecimal."""
        return hashlib.sha256(self.to_json()).hexdigest()

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """Reads what `to_json` wrote; fields added since have their defaults."""
        document = json.loads(text)
        document["steps"] = tuple(_step(step) for step in document["steps"])
        document["schedule"] = schedule_from(document.get("schedule"))
        document["tags"] = tuple(document.get("tags", ()))
        return cls(**known_fields(cls, document))


def known_fields(kind: type[Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """What of a document this version's dataclass knows: a later version may have written more."""
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in document.items() if name in names}


def plain_json(value: object) -> str:
    """The `default` of `json.dumps` for job definitions: instants as ISO 8601."""
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a job definition")


def _step(document: dict[str, Any]) -> StepSpec:
    depends_on = document.get("depends_on")
    return StepSpec(
        **{
            **known_fields(StepSpec, document),
            "on_interrupt": OnInterrupt(document["on_interrupt"]),
            "run_if": RunIf(document["run_if"]),
            "depends_on": None if depends_on is None else tuple(depends_on),
            "publish": tuple(document.get("publish", ())),
        }
    )


def schedule_from(document: dict[str, Any] | None) -> Schedule | None:
    """Reads a schedule from its JSON form; None stays None."""
    if document is None:
        return None
    instants = {
        key: datetime.fromisoformat(document[key])
        for key in ("anchor", "start_at", "end_at")
        if document.get(key)
    }
    words = {
        "type": ScheduleType(document["type"]),
        "catch_up": CatchUp(document["catch_up"]),
        "overlap": Overlap(document["overlap"]),
    }
    return Schedule(**{**known_fields(Schedule, document), **instants, **words})
