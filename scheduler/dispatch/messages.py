"""Queue messages: they name rows, and may hold one; they carry no definition and no secret."""

import json
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum

from scheduler.dispatch.ids import ExecutionId, parse_execution_id
from scheduler.errors import UnreadableMessage

VERSION = 1
MAX_BYTES = 1024
"""Of a message without a row in it."""


class MessageKind(StrEnum):
    """What the message asks for."""

    START = "start"
    STEP = "step"
    NUDGE = "nudge"
    TICK = "tick"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """Asks for a start (`due`, `etag`), a step (`step`, `attempt`), a look at a `queue` (nudge),
    or for what falls due in a `shard` (tick).

    `due`: not before this instant. What saves its reader a look where it still holds: of a start,
    `etag` and `revision`, the versions of the `run:` row and of the job; of a step, `run` and
    `etag`, the run row's text and version. `look`: of an attempt that waits, the how manieth look.
    """

    kind: MessageKind
    execution_id: ExecutionId | None = None
    step: str | None = None
    attempt: int | None = None
    look: int | None = None
    due: datetime | None = None
    etag: str | None = None
    revision: str | None = None
    run: str | None = None
    queue: str | None = None
    shard: str | None = None
    traceparent: str | None = None

    def encode(self) -> str:
        """The text that goes to the queue."""
        fields = {name: value for name, value in asdict(self).items() if value is not None}
        if self.due is not None:
            fields["due"] = self.due.isoformat()
        return json.dumps({"v": VERSION, **fields}, separators=(",", ":"))


def decode(text: str) -> Message:
    """Reads a message; fields that later versions may add are ignored.

    Raises:
        UnreadableMessage: saying what is wrong with it.
    """
    try:
        fields = json.loads(text)
    except ValueError:
        raise UnreadableMessage("the message is no JSON") from None
    if not isinstance(fields, dict) or fields.get("v") != VERSION:
        raise UnreadableMessage("the message is of no version that this app reads")
    try:
        return _message(fields)
    except (KeyError, TypeError, ValueError) as error:
        raise UnreadableMessage(f"the message lacks or garbles a field: {error}") from None


def _message(fields: dict[str, object]) -> Message:
    kind = MessageKind(str(fields["kind"]))
    if kind is MessageKind.NUDGE:
        return Message(kind=kind, queue=_text(fields["queue"]))
    if kind is MessageKind.TICK:
        return Message(kind=kind, shard=_text(fields["shard"]))
    key = parse_execution_id(_text(fields["execution_id"]))
    if key is None:
        raise ValueError("execution_id")
    due = fields.get("due")
    attempt, look = fields.get("attempt"), fields.get("look")
    return Message(
        kind=kind,
        execution_id=key.execution_id,
        step=_text(fields["step"]) if kind is MessageKind.STEP else None,
        attempt=int(attempt) if isinstance(attempt, int) else None,
        look=int(look) if isinstance(look, int) else None,
        due=_instant(due) if due is not None else None,
        etag=_text(fields["etag"]) if "etag" in fields else None,
        revision=_text(fields["revision"]) if "revision" in fields else None,
        run=_text(fields["run"]) if "run" in fields else None,
        traceparent=_text(fields["traceparent"]) if "traceparent" in fields else None,
    )


def _instant(value: object) -> datetime:
    instant = datetime.fromisoformat(_text(value))
    if instant.tzinfo is None:
        raise ValueError(f"{value!r} has no offset")
    return instant


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
