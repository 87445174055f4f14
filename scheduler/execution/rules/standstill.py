"""What a run row tells of whether anything of the run moves, or is about to."""

from datetime import datetime, timedelta

from scheduler.execution.rules.model import Run

OVERDUE_WAKE = timedelta(seconds=120)
"""A retry that is overdue by more counts as none."""


def waits_for_message(run: Run) -> bool:
    """Whether nothing of it runs, or the message of a step is on its way for long."""
    return not run.runs_a_step or any(step.sent for step in run.steps)


def wakes_later(run: Run, now: datetime) -> bool:
    """Whether its next retry is still ahead: nobody is about to run it."""
    return all(step.wake_at is None or now < step.wake_at for step in run.steps)


def overdue_retries(run: Run, now: datetime) -> tuple[int, ...]:
    """The places of steps whose retry has long been due: its message may be lost."""
    return tuple(
        place
        for place, step in enumerate(run.steps)
        if step.wake_at is not None and now >= step.wake_at + OVERDUE_WAKE
    )


def sleeps(run: Run, now: datetime) -> bool:
    """Whether all it does is wait for a retry or a look whose time has not long passed."""
    return run.sleeps and any(
        step.wake_at is not None and now < step.wake_at + OVERDUE_WAKE for step in run.steps
    )
