"""A step type that takes a while, and says in which process it ran."""

import asyncio
import os

from pydantic import Field

from steps.contract import StepConfig, StepContext, StepResult, StepType


class PlaceConfig(StepConfig):
    """How long it takes."""

    seconds: float = Field(ge=0)


class PlaceStep(StepType):
    """Leaves the id of its process as output."""

    type = "place"
    title = "Place"
    description = "Takes a while, and says where"
    Config = PlaceConfig

    async def run(self, config: PlaceConfig, context: StepContext) -> StepResult:
        """Takes its time."""
        await asyncio.sleep(config.seconds)
        return StepResult(os.getpid())
