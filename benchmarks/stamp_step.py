"""A step type that writes down when its code began to run."""

import os
from datetime import UTC, datetime

from steps.contract import StepConfig, StepContext, StepResult, StepType

FILE = "BENCHMARK_STAMPS"
"""The environment variable with the path of the file."""


class StampConfig(StepConfig):
    """It has no fields."""


class StampStep(StepType):
    """Appends the execution's id and the instant to a file, one line for each run."""

    type = "stamp"
    title = "Stamp"
    description = "Writes down when it began"
    Config = StampConfig

    async def run(self, config: StampConfig, context: StepContext) -> StepResult:
        """Writes one line, in one piece: several hosts may write at once."""
        line = f"{context.execution_id} {datetime.now(UTC).isoformat()}\n"
        descriptor = os.open(os.environ[FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)
        return StepResult()
