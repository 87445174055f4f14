"""What a step has left behind, whole or in parts: text as it is, all else as JSON."""

import json
import re
from dataclasses import dataclass

from scheduler.dispatch.ids import ExecutionKey, parse_execution_id
from scheduler.errors import NotFound, RangeNotSatisfiable
from scheduler.execution.rules.model import Run, StepRecord
from scheduler.execution.store import ExecutionStore
from scheduler.storage.blobs import Container

_RANGE = re.compile(r"\s*bytes\s*=\s*(\d*)\s*-\s*(\d*)\s*", re.IGNORECASE | re.ASCII)
_LONGEST_NUMBER = 18
_MOST = 10**_LONGEST_NUMBER


@dataclass(frozen=True, slots=True)
class StepOutput:
    """A part of an output: its bytes, where they begin, and how many there are in all."""

    content: bytes
    start: int
    size: int
    is_text: bool
    file_name: str

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return len(self.content) == self.size


class StepOutputs:
    """Reads the outputs of steps."""

    def __init__(self, store: ExecutionStore, blobs: Container) -> None:
        self._store = store
        self._blobs = blobs

    async def read(self, execution_id: str, step_id: str, byte_range: str | None) -> StepOutput:
        """The output of a step, or the part of it that the value of a `Range` header names.

        A range of another unit, or of several parts, is not followed: RFC 9110, 14.2.

        Raises:
            NotFound: `execution_not_found`, `step_not_found`, `output_not_found`, `output_gone`.
            RangeNotSatisfiable: it begins after the end.
            StorageUnavailable: storage cannot be reached.
        """
        run, place = await self._find(execution_id, step_id)
        source = run.source_of(place)
        stored = await self._store.step(source, place)
        record = stored.value if stored is not None else None
        if record is None or record.output is None:
            raise _none_there(run, place, source)
        attempt = record.attempts[-1].number if record.attempts else 1
        is_text = record.output_is_text
        suffix = "txt" if is_text else "json"
        name = f"{run.execution_id}.{step_id}.{attempt}.{suffix}"
        if record.output_truncated:
            content, start, size = await self._from_blob(record, byte_range)
        else:
            whole = _inline(record.output, is_text=is_text)
            start, end = _span(byte_range, len(whole))
            content, size = whole[start:end], len(whole)
        return StepOutput(content, start, size, is_text, name)

    async def _find(self, execution_id: str, step_id: str) -> tuple[Run, int]:
        key = parse_execution_id(execution_id)
        stored = await self._store.run(key.execution_id) if key is not None else None
        if stored is None:
            raise NotFound(
                f"there is no execution {execution_id[:200]!r}, or it has not begun yet",
                code="execution_not_found",
            )
        place = stored.value.place_of(step_id)
        if place is None:
            steps = ", ".join(step.id for step in stored.value.steps[:20]) or "none"
            raise NotFound(
                f"the execution has no step {step_id[:64]!r}; its steps are: {steps}",
                code="step_not_found",
            )
        return stored.value, place

    async def _from_blob(
        self, record: StepRecord, byte_range: str | None
    ) -> tuple[bytes, int, int]:
        name = record.output_blob
        size = await self._blobs.size(name) if name is not None else None
        if name is None or size is None:
            raise NotFound(
                "only the first part of this output was kept: the execution shows it, and says why"
                " in the step's metadata",
                code="output_gone",
            )
        start, end = _span(byte_range, size)
        part = {} if end - start == size else {"offset": start, "length": end - start}
        content = await self._blobs.get(name, **part)
        if content is None:
            raise NotFound("this output has just been removed", code="output_gone")
        return content, start, size


def _none_there(run: Run, place: int, source: ExecutionKey) -> NotFound:
    step = run.steps[place]
    where = f" in {source.execution_id}" if source != run.key else ""
    if step.status.finished:
        text = f"step {step.id} has ended{where} ({step.status}) and left no output behind"
    else:
        text = f"step {step.id} is {step.status}: its output is there once it has succeeded"
    return NotFound(text, code="output_not_found")


def _inline(output: str, *, is_text: bool) -> bytes:
    text = str(json.loads(output)) if is_text else output
    return text.encode("utf-8", "replace")


def _span(byte_range: str | None, size: int) -> tuple[int, int]:
    """Where a part begins and where it ends (excluded); the whole without a range to follow."""
    match = _RANGE.fullmatch(byte_range or "")
    first, last = match.groups() if match is not None else ("", "")
    if not first and not last:
        return 0, size
    begin, end = _number(first), _number(last)
    if (begin is not None and begin >= size) or (begin is None and (end == 0 or size == 0)):
        raise _outside(byte_range or "", size)
    if begin is None:
        return max(size - (end or 0), 0), size
    if end is not None and end < begin:
        return 0, size
    return begin, size if end is None else min(end + 1, size)


def _number(digits: str) -> int | None:
    """What the digits say; one that is longer than any size counts as the largest."""
    if not digits:
        return None
    return int(digits) if len(digits) <= _LONGEST_NUMBER else _MOST


def _outside(byte_range: str, size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"the Range {byte_range[:60]!r} lies outside of this output: it has {size} bytes, the first"
        f" of which is 0",
        size=size,
    )
