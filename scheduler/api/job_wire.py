"""The job as clients write it: fields, limits and defaults of its JSON; OpenAPI shows these."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from scheduler.dispatch.ids import JOB_ID_PATTERN
from scheduler.jobs.model import (
    LONGEST_JOB_SECONDS,
    CatchUp,
    OnInterrupt,
    Overlap,
    RunIf,
    ScheduleType,
)

MAX_STEPS = 100
MAX_JOB_BYTES = 256 * 1024
MAX_METADATA_BYTES = 16 * 1024
_YEARS = (1970, 2999)

# No control characters, line separators or overrides of the reading direction; one visible.
_LINE = r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]*"
_VISIBLE = r"[^\x00-\x20\x7f-\xa0\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff]"
_NAME = f"^{_LINE}{_VISIBLE}{_LINE}$"
_STEP_ID = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"
_TAG = r"^[^\s\x00-\x1f\x7f]+$"
_HEADER_NAME = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$"
_HEADER_VALUE = r"^[^\x00-\x1f\x7f]*$"
_URL = r"^https?://[^\s/?#\x00-\x1f]+[^\s\x00-\x1f]*$"
FORMATS = {
    JOB_ID_PATTERN: "must be 1 to 64 letters, digits, _ and -",
    _NAME: "must be one line with a visible character",
    _STEP_ID: "must begin with a letter or _, and have up to 64 letters, digits and _",
    _TAG: "must be one word without blanks",
    _HEADER_NAME: "must be the name of an HTTP header",
    _HEADER_VALUE: "must be one line",
    _URL: "must be an address that begins with https:// or http://",
}
"""The patterns of texts, in words."""


def json_bytes(value: Any) -> int:  # noqa: ANN401
    """The size of a value as compact JSON in UTF-8."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def _small(value: dict[str, Any]) -> dict[str, Any]:
    if json_bytes(value) > MAX_METADATA_BYTES:
        raise PydanticCustomError("too_large", "must be at most 16 KiB of JSON")
    return value


def _usable_year(value: AwareDatetime) -> AwareDatetime:
    if not _YEARS[0] <= value.year <= _YEARS[1]:
        raise ValueError(f"must be in the years {_YEARS[0]} to {_YEARS[1]}")
    return value


type StepIdText = Annotated[str, Field(pattern=_STEP_ID)]
type Note = Annotated[str, Field(max_length=1_000, pattern=_NAME)]
type Name = Annotated[str, Field(min_length=1, max_length=200, pattern=_NAME)]
type Instant = Annotated[AwareDatetime, AfterValidator(_usable_year)]
type Tag = Annotated[str, Field(max_length=64, pattern=_TAG)]
type HeaderName = Annotated[str, Field(max_length=128, pattern=_HEADER_NAME)]
type HeaderValue = Annotated[str, Field(max_length=4_000, pattern=_HEADER_VALUE)]


class WireBody(BaseModel):
    """What every body has in common: no other fields, no other types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ScheduleBody(WireBody):
    """When a job runs."""

    type: ScheduleType
    expression: str = Field(max_length=256)
    anchor: Instant | None = None
    start_at: Instant | None = None
    end_at: Instant | None = None
    jitter_seconds: int = Field(0, ge=0, le=3_600)
    catch_up: CatchUp = CatchUp.LATEST
    catch_up_window_seconds: int = Field(3_600, ge=0, le=604_800)
    overlap: Overlap = Overlap.SKIP


class NotificationBody(WireBody):
    """Where a notification goes."""

    webhook: str = Field(max_length=2_000, pattern=_URL)
    headers: dict[HeaderName, HeaderValue] | None = Field(None, max_length=50)
    body: Any = None


class StepBody(BaseModel):
    """One step; the fields of its type stand beside these, or inside `config`."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    id: StepIdText
    name: Name | None = None
    type: str = Field(min_length=1, max_length=64)
    timeout: float = Field(300, ge=1, le=LONGEST_JOB_SECONDS, allow_inf_nan=False)
    max_retries: int | None = Field(None, ge=0, le=20)
    retry_delay: float | None = Field(None, ge=1, le=3_600, allow_inf_nan=False)
    continue_on_failure: bool = False
    on_interrupt: OnInterrupt = OnInterrupt.RETRY
    depends_on: list[StepIdText] | None = Field(None, max_length=MAX_STEPS)
    run_if: RunIf = RunIf.SUCCESS
    publish: list[StepIdText] = Field(default_factory=list, max_length=20)


class JobBody(WireBody):
    """A job."""

    id: str | None = Field(None, pattern=JOB_ID_PATTERN)
    name: Name
    description: str = Field("", max_length=4_000)
    timezone: str = Field("UTC", min_length=1, max_length=64)
    enabled: bool = True
    steps: list[StepBody] = Field(min_length=1, max_length=MAX_STEPS)
    schedule: ScheduleBody | None = None
    max_retries: int = Field(0, ge=0, le=20)
    retry_delay: float = Field(30, ge=1, le=3_600, allow_inf_nan=False)
    timeout_seconds: float = Field(3_600, ge=1, le=LONGEST_JOB_SECONDS, allow_inf_nan=False)
    max_parallel: int = Field(8, ge=1, le=50)
    priority: int = Field(0, ge=0, le=9)
    on_failure: NotificationBody | None = None
    on_success: NotificationBody | None = None
    on_late: NotificationBody | None = None
    tags: list[Tag] = Field(default_factory=list, max_length=20)
    metadata: Annotated[dict[str, Any], AfterValidator(_small)] = Field(default_factory=dict)
