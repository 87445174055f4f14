"""What a step leaves behind: inline in its row when it fits, else a blob and a preview."""

import asyncio
import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import batched
from typing import Any

from scheduler.errors import SchedulerError
from scheduler.execution.attempts.published import to_publish
from scheduler.execution.claim import Claim
from scheduler.execution.rules.model import Run
from scheduler.execution.rules.outcome import Outcome
from scheduler.security.redaction import Redactor
from scheduler.storage.at_once import at_once
from scheduler.storage.blobs import Container
from scheduler.storage.tables import MAX_PROPERTY_CHARACTERS
from scheduler.telemetry import get_logger
from steps.contract import StepResult

log = get_logger(__name__)
INLINE_CHARACTERS = 30_000
PREVIEW_CHARACTERS = 4_000
_DELETED_AT_ONCE = 16
_QUICK_CHARACTERS = 200_000
"""A longer output is rendered in a thread: it would hold up the leases of other steps."""


@dataclass(frozen=True, slots=True)
class _Rendered:
    """An output without secrets: as its row holds it, and where that is a preview, the whole."""

    text: str
    whole: bytes | None = None
    characters: int = 0


class Outputs:
    """Stores the results of successful attempts, with known secrets taken out."""

    def __init__(self, blobs: Container, redactor: Redactor) -> None:
        self._blobs = blobs
        self._redactor = redactor

    async def outcome(self, claim: Claim, result: StepResult) -> Outcome:
        """The outcome of a successful attempt; a large output is in its blob by then.

        When the blob cannot be written, or the output is no JSON, the success stands and its
        metadata has `output_error`: running the step again would do its work twice.
        """
        metadata = self.metadata(result.metadata)
        if not claim.spec.publish:
            return await self._with_output(claim, result, metadata)
        published, told = self._published(claim, result)
        if told is not None:
            metadata["publish_error"] = told
        return replace(await self._with_output(claim, result, metadata), published=published)

    def _published(self, claim: Claim, result: StepResult) -> tuple[dict[str, Any], str | None]:
        try:
            values = self._redactor.json(dict(result.values))
            published, told = to_publish(claim, values)
            return json.loads(_text(published)), told
        except Exception as error:
            log.exception("values are no JSON object", extra={"action": "output_refused"})
            return {}, f"nothing was published: {type(error).__name__}"

    async def _with_output(
        self, claim: Claim, result: StepResult, metadata: dict[str, Any]
    ) -> Outcome:
        if result.output is None:
            return Outcome(metadata=metadata)
        is_text = isinstance(result.output, str)
        try:
            output = await self._rendered(result.output)
        except Exception as error:
            log.exception("an output is no JSON", extra={"action": "output_refused"})
            refused = f"not kept, for it is no JSON: {type(error).__name__}"
            return Outcome(metadata={**metadata, "output_error": refused})
        if output.whole is None:
            return Outcome(output=output.text, output_is_text=is_text, metadata=metadata)
        kept: str | None = _blob_name(claim, "txt" if is_text else "json")
        metadata = {**metadata, "output_characters": output.characters}
        try:
            await self._blobs.put(str(kept), output.whole)
        except SchedulerError as error:
            kept = None
            metadata["output_error"] = f"only the preview was kept: {error.message}"
        return Outcome(
            output=output.text,
            output_is_text=is_text,
            output_truncated=True,
            output_blob=kept,
            metadata=metadata,
        )

    async def _rendered(self, output: Any) -> _Rendered:  # noqa: ANN401
        if _is_over(output, _QUICK_CHARACTERS):
            return await asyncio.to_thread(_render, self._redactor, output)
        return _render(self._redactor, output)

    def metadata(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """A step's metadata as plain JSON without known secrets, or why it is not kept."""
        try:
            text = _text(self._redactor.json(dict(metadata)))
        except Exception as error:
            log.exception("metadata are no JSON object", extra={"action": "output_refused"})
            return {"metadata_error": f"not kept, for it is no JSON object: {type(error).__name__}"}
        if _units(text) > MAX_PROPERTY_CHARACTERS // 2:
            return {"metadata_error": "the step's metadata was over 16,000 characters"}
        kept: dict[str, Any] = json.loads(text)
        return kept


def _render(redactor: Redactor, output: Any) -> _Rendered:  # noqa: ANN401
    text = _text(redactor.json(output))
    if _units(text) <= INLINE_CHARACTERS:
        return _Rendered(text)
    whole = str(json.loads(text)) if isinstance(output, str) else text
    return _Rendered(whole[:PREVIEW_CHARACTERS], whole.encode(), len(whole))


def _is_over(value: Any, characters: int) -> bool:  # noqa: ANN401
    """Whether a JSON value has more than so many characters, as far as that takes to see."""
    left, values = characters, [value]
    while values and left >= 0:
        one = values.pop()
        if isinstance(one, dict):
            values += [*one, *one.values()]
        elif isinstance(one, list | tuple):
            values += one
        left -= len(one) if isinstance(one, str) else 1
    return left < 0


def _blob_name(claim: Claim, suffix: str) -> str:
    run, state = claim.run.value, claim.state
    number = f"{state.attempt}-{state.looks}" if state.looks else f"{state.attempt}"
    return f"{run.job_id}/{run.execution_id}/{claim.spec.id}/{number}.{suffix}"


async def delete_outputs(blobs: Container, runs: Sequence[Run]) -> None:
    """Deletes the outputs of some runs of a job, also those that no row names.

    Raises:
        StorageUnavailable: storage cannot be reached; some may be deleted.
    """
    by_day = defaultdict[date, set[str]](set)
    for run in runs:
        by_day[run.key.time.date()].add(f"{run.job_id}/{run.execution_id}")
    for folders in by_day.values():
        found = await blobs.names(_shared_beginning([f"{one}/" for one in folders]))
        own = [name for name in found if "/".join(name.split("/")[:2]) in folders]
        for some in batched(own, _DELETED_AT_ONCE, strict=False):
            await at_once(map(blobs.delete, some))


def _shared_beginning(names: Collection[str]) -> str:
    first, last = min(names), max(names)
    length = next(
        (n for n, pair in enumerate(zip(first, last, strict=False)) if len(set(pair)) > 1),
        len(first),
    )
    return first[:length]


def _text(value: Any) -> str:  # noqa: ANN401
    return storable(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def storable(text: str) -> str:
    """The text with what UTF-8 cannot carry (lone surrogates) replaced by `?`."""
    return text.encode("utf-8", "replace").decode()


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
