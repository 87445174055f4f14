"""Effects against records: each step's effect is there once, and no attempt lies about it."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import timedelta

from chaos.books import Books
from chaos.effects import Effect
from chaos.waiting_step import WaitingStep
from scheduler.execution.rules.model import Attempt, StepRecord

_MEASURED = timedelta(seconds=1)
"""A claim's time is taken a moment before its transaction, on a machine that is busy."""


def effect_faults(books: Books) -> Iterator[str]:
    """Every effect that is missing, unknown, or there twice without a reason."""
    by_step: dict[tuple[str, str], list[Effect]] = defaultdict(list)
    for effect in books.effects:
        by_step[effect.execution_id, effect.step_id].append(effect)
    for execution_id, entry in books.ledger.entries.items():
        for record in entry.steps.values():
            if record.type == WaitingStep.type:
                continue
            effects = by_step.pop((execution_id, record.id), [])
            for fault in _of_step(books, execution_id, record, effects):
                yield f"{record.id} of {execution_id}: {fault}"
    for (execution_id, step), effects in by_step.items():
        yield f"{step} of {execution_id}: {len(effects)} effects, and no record"


def _of_step(
    books: Books, execution_id: str, record: StepRecord, effects: list[Effect]
) -> Iterator[str]:
    attempts = {attempt.number: attempt for attempt in record.attempts}
    left_by = sorted(effect.attempt for effect in effects)
    if record.status == "success" and record.attempts[-1].number not in left_by:
        yield f"its attempt {record.attempts[-1].number} succeeded and left no effect"
    for number in sorted(set(left_by)):
        if left_by.count(number) > 1:
            yield f"attempt {number} left {left_by.count(number)} effects"
    for effect in effects:
        attempt = attempts.get(effect.attempt)
        if attempt is None:
            yield f"an effect of attempt {effect.attempt}, which is not recorded"
        elif attempt.outcome == "lost":
            yield from _after_all(books, execution_id, record, effect, attempts)
        elif attempt.outcome != "success":
            yield f"an effect of attempt {attempt.number}, whose outcome is {attempt.outcome}"


def _after_all(
    books: Books,
    execution_id: str,
    record: StepRecord,
    effect: Effect,
    attempts: dict[int, Attempt],
) -> Iterator[str]:
    """A lost attempt has left an effect: that needs a reason, and may not come after the next."""
    if books.happened.explains_twice(effect.host, effect.committed) is None:
        yield (
            f"attempt {effect.attempt} on {effect.host} left an effect at"
            f" {effect.committed.isoformat()} and counts as lost, though nothing was away"
        )
    following = attempts.get(effect.attempt + 1)
    hosts = books.logs.hosts.get((execution_id, record.id, effect.attempt + 1))
    if following is None or not hosts:
        return
    fast = timedelta(seconds=books.happened.lives[hosts[0]].clock_seconds)
    if effect.committed > following.start_time - fast + _MEASURED:
        yield f"attempt {effect.attempt} on {effect.host} committed after the next had begun"
