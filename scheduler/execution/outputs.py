"""What a step leaves behind: inline in its row when it fits, else a blob and a preview."""

import json
from collections.abc import Mapping
from typing import Any

from scheduler.errors import SchedulerError
from scheduler.execution.claim import Claim
from scheduler.execution.rules.outcome import Outcome
from scheduler.security.redaction import Redactor
from scheduler.storage.blobs import Container
from scheduler.storage.tables import MAX_PROPERTY_CHARACTERS
from scheduler.telemetry import get_logger
from steps.contract import StepResult

log = get_logger(__name__)
INLINE_CHARACTERS = 30_000
PREVIEW_CHARACTERS = 4_000


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
        if result.output is None:
            return Outcome(metadata=metadata)
        try:
            output = _text(self._redactor.json(result.output))
        except Exception as error:
            log.exception("an output is no JSON", extra={"action": "output_refused"})
            refused = f"not kept, for it is no JSON: {type(error).__name__}"
            return Outcome(metadata={**metadata, "output_error": refused})
        if _units(output) <= INLINE_CHARACTERS:
            return Outcome(output=output, metadata=metadata)
        run = claim.run.value
        name = f"{run.job_id}/{run.execution_id}/{claim.spec.id}/{claim.state.attempt}.json"
        kept: str | None = name
        metadata = {**metadata, "output_characters": len(output)}
        try:
            await self._blobs.put(name, output.encode())
        except SchedulerError as error:
            kept = None
            metadata["output_error"] = f"only the preview was kept: {error.message}"
        return Outcome(
            output=output[:PREVIEW_CHARACTERS],
            output_truncated=True,
            output_blob=kept,
            metadata=metadata,
        )

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


def _text(value: Any) -> str:  # noqa: ANN401
    return storable(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def storable(text: str) -> str:
    """The text with what UTF-8 cannot carry (lone surrogates) replaced by `?`."""
    return text.encode("utf-8", "replace").decode()


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2
