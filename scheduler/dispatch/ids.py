"""Execution ids, and the row keys that follow from them."""

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NewType

from scheduler.storage.keys import inverted

ExecutionId = NewType("ExecutionId", str)

JOB_ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
_JOB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COMPACT = "%Y%m%dT%H%M%SZ"
_EXECUTION_ID = re.compile(
    r"(?P<job>[A-Za-z0-9_-]{1,64})\.(?P<time>\d{8}T\d{6}Z)(?P<rest>-[0-9a-f]{8}|\.b\d{1,5})?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class ExecutionKey:
    """Where an execution is stored: all of it follows from its id."""

    execution_id: ExecutionId
    job_id: str
    time: datetime

    @property
    def is_manual(self) -> bool:
        """Whether somebody asked for it, and not for the run of an instant of its schedule."""
        return "-" in self.execution_id.removeprefix(f"{self.job_id}.")

    @property
    def backfill_number(self) -> int:
        """Which of the runs it is that make up for one of its instant; 0: the scheduled one."""
        _, _, number = self.execution_id.rpartition(".b")
        return int(number) if number.isdigit() else 0

    @property
    def run_row(self) -> str:
        """The row key of the run row, in the partition of the job."""
        return f"r:{inverted(self.time)}:{self.execution_id}"

    @property
    def retry_rows(self) -> str:
        """The prefix of the row keys that name its retries."""
        return f"t:{inverted(self.time)}:{self.execution_id}:"

    @property
    def step_rows(self) -> str:
        """The prefix of the row keys of its steps."""
        return f"s:{inverted(self.time)}:{self.execution_id}:"

    def step_row(self, place: int) -> str:
        """The row key of the step at this place (from 0) in the definition."""
        return f"{self.step_rows}{place:03d}"


def is_job_id(text: str) -> bool:
    """Whether a text can be the id of a job: 1 to 64 letters, digits, `_` and `-`."""
    return _JOB_ID.fullmatch(text) is not None


def scheduled_id(job_id: str, scheduled: datetime) -> ExecutionId:
    """The id of the run of this nominal instant: the same for everyone who computes it."""
    return ExecutionId(f"{job_id}.{scheduled.astimezone(UTC):{_COMPACT}}")


def manual_id(job_id: str, now: datetime) -> ExecutionId:
    """A new id for a run that somebody asked for."""
    return ExecutionId(f"{job_id}.{now.astimezone(UTC):{_COMPACT}}-{secrets.token_hex(4)}")


def backfill_id(job_id: str, scheduled: datetime, number: int) -> ExecutionId:
    """The id of a run that makes up for one of this instant; `number` counts them from 1."""
    return ExecutionId(f"{scheduled_id(job_id, scheduled)}.b{number}")


def parse_execution_id(text: str) -> ExecutionKey | None:
    """Reads an execution id, or None when the text is none."""
    match = _EXECUTION_ID.fullmatch(text)
    if match is None:
        return None
    try:
        time = datetime.strptime(match["time"], _COMPACT).replace(tzinfo=UTC)
    except ValueError:
        return None
    return ExecutionKey(ExecutionId(text), match["job"], time)


def key_of(execution_id: ExecutionId) -> ExecutionKey:
    """Reads an execution id of our own making."""
    key = parse_execution_id(execution_id)
    if key is None:
        raise ValueError(f"not an execution id: {execution_id!r}")
    return key


class Trigger(StrEnum):
    """Why a run exists."""

    SCHEDULE = "schedule"
    MANUAL = "manual"
    BACKFILL = "backfill"
    RETRY = "retry"


SHARDS = tuple("0123456789abcdef")
"""The partitions of the Jobs table."""


def shard_of(job_id: str) -> str:
    """The partition that a job's rows are in."""
    return hashlib.sha256(job_id.encode()).hexdigest()[0]
