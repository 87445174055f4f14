"""The values that steps publish: kept when a step succeeds, read by the steps after it."""

import asyncio
import json
import math
from collections.abc import Mapping
from typing import Any

from scheduler.execution.claim import Claim
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.outcome import Outcome
from scheduler.execution.store import ExecutionStore
from scheduler.jobs.model import Json
from scheduler.jobs.templates import Reference, references
from steps.contract import StepType

MAX_BYTES = 16 * 1024
"""Of all values that one step publishes, as JSON in UTF-8."""
_NAMED = 10


class PublishedValues:
    """Reads what other steps of an execution have published: only what is listed is in reach."""

    def __init__(self, store: ExecutionStore) -> None:
        self._store = store

    async def named_by(self, claim: Claim, step_type: StepType) -> Mapping[str, Mapping[str, Json]]:
        """The values of the steps that a step's templates name, by step id; costs a read for each.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        run, names = claim.run.value, step_type.Config.TEMPLATED
        config = {name: value for name, value in claim.spec.config.items() if name in names}
        steps = sorted({reference.step for _, reference in references(config)})
        values = await asyncio.gather(*(self._of(run, step) for step in steps))
        return dict(zip(steps, values, strict=True))

    async def _of(self, run: Run, step: str) -> Mapping[str, Json]:
        place = run.place_of(step)
        if place is None:
            return {}
        stored = await self._store.step(run.source_of(place), place)
        return stored.value.published or {} if stored is not None else {}


def not_published(claim: Claim, reference: Reference, found: Mapping[str, Json]) -> Outcome:
    """The outcome of a step whose configuration names a value that is not there."""
    names = ", ".join(list(found)[:_NAMED])
    run = claim.run.value
    place = run.place_of(reference.step)
    status = run.steps[place].status if place is not None else "not a step of the job"
    published = f"it published {names}" if names else f"it published nothing (it is {status})"
    return Outcome(
        error_code="value_not_published",
        error_message=f"{{{{steps.{reference.step}.{reference.value}}}}} has no value: {published};"
        f" list {reference.value} in the publish of step {reference.step}, and see that its result"
        " has it",
    )


def to_publish(claim: Claim, values: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """The values that a step lists, and what is to be told of those that cannot be published."""
    listed = claim.spec.publish
    kept = {name: values[name] for name in listed if name in values and _is_scalar(values[name])}
    size = len(json.dumps(kept, ensure_ascii=False).encode("utf-8", "replace"))
    if size > MAX_BYTES:
        return {}, f"nothing was published: {size} bytes are over the limit of {MAX_BYTES}"
    missing = [name for name in listed if name not in values]
    shapes = [name for name in listed if name in values and name not in kept]
    told = []
    if missing:
        offered = ", ".join(list(values)[:_NAMED]) or "none"
        told.append(f"its result has no {', '.join(missing)}; the values that it has: {offered}")
    if shapes:
        told.append(f"neither text, number, true, false nor null: {', '.join(shapes)}")
    return kept, "; ".join(told) or None


def _is_scalar(value: Any) -> bool:  # noqa: ANN401
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | int | bool)
