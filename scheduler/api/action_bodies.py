"""The bodies of calls that act on what is stored: pause, run, retry, cancel, and the like."""

from pydantic import Field

from scheduler.api.job_wire import Instant, Note, WireBody
from scheduler.dispatch.control import ControlState


class PauseBody(WireBody):
    """Why a job is paused."""

    note: Note | None = None


class ResumeBody(WireBody):
    """Nothing: a job is resumed as it is."""


class RunBody(WireBody):
    """`force` runs a disabled job too."""

    force: bool = False


class RetryBody(WireBody):
    """`force` retries an execution of a disabled job too."""

    force: bool = False


class CancelBody(WireBody):
    """Why an execution is cancelled."""

    reason: Note | None = None


class BackfillBody(WireBody):
    """The runs with from ≤ run < to; `rerun` includes those that have run already."""

    from_: Instant = Field(alias="from")
    to: Instant
    force: bool = False
    rerun: bool = False


class ControlBody(WireBody):
    """The control word, and why it is said."""

    state: ControlState
    note: Note | None = None
