"""Where an execution's time went: told to whoever finds that it ran out of it."""

from collections.abc import Mapping
from datetime import datetime

from scheduler.execution.rules.model import Run, StepRecord

_NAMED_STEPS = 5


def out_of_time(run: Run, records: Mapping[int, StepRecord], now: datetime) -> str:
    """The sentence for an execution whose time is up; `records` are its steps' rows, by place."""
    limit = _seconds((run.deadline - run.timed_from).total_seconds())
    parts = _parts(run, records, now)
    return f"the job's timeout_seconds of {limit} passed before its steps were done: {parts}"


def _parts(run: Run, records: Mapping[int, StepRecord], now: datetime) -> str:
    started = run.start_time or now
    waited = max((started - run.timed_from).total_seconds(), 0)
    parts = [f"{_seconds(waited)} s before the first step"]
    worked = {place: _worked(record, now) for place, record in records.items()}
    longest = sorted(worked, key=lambda place: -worked[place])
    for place in sorted(longest[:_NAMED_STEPS]):
        tries = len(records[place].attempts)
        attempts = f" ({tries} attempts)" if tries > 1 else ""
        parts.append(f"{_seconds(worked[place])} s in step {records[place].id}{attempts}")
    others = longest[_NAMED_STEPS:]
    if others:
        parts.append(f"{_seconds(sum(worked[place] for place in others))} s in other steps")
    between = (now - started).total_seconds() - _busy(records, now)
    if between >= 1:
        parts.append(f"{_seconds(between)} s between attempts")
    return ", ".join(parts)


def _worked(record: StepRecord, now: datetime) -> float:
    return sum(
        ((attempt.end_time or now) - attempt.start_time).total_seconds()
        for attempt in record.attempts
    )


def _busy(records: Mapping[int, StepRecord], now: datetime) -> float:
    """Seconds in which at least one attempt ran."""
    spans = sorted(
        (attempt.start_time, attempt.end_time or now)
        for record in records.values()
        for attempt in record.attempts
    )
    total, until = 0.0, None
    for start, end in spans:
        begin = start if until is None else max(start, until)
        total += max((end - begin).total_seconds(), 0)
        until = end if until is None else max(until, end)
    return total


def _seconds(seconds: float) -> str:
    return f"{round(seconds, 1):g}"
