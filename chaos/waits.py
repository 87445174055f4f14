"""The looks of steps that wait: each knows of all before it, and none is there without a reason."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from chaos.books import Books
from chaos.effects import Look, LookKind
from chaos.hostlog import AttemptKey
from chaos.waiting_step import WaitingStep
from scheduler.execution.rules.states import StepStatus


@dataclass(frozen=True, slots=True)
class Waited:
    """An attempt of a step that waits: how it ended, and its looks in the order of their COMMIT."""

    key: AttemptKey
    outcome: str
    looks: tuple[Look, ...]

    @property
    def chain(self) -> tuple[str, ...]:
        """The tokens of the looks that counted, but for the last one."""
        return max((look.seen for look in self.looks), key=len, default=())

    @property
    def counted(self) -> list[Look]:
        """The looks that counted, in order; the last is any of those that knew of all before."""
        by_token = {look.token: look for look in self.looks}
        before = [by_token[token] for token in self.chain if token in by_token]
        ends = [look for look in self.looks if look.seen == self.chain]
        return [*before, *ends[-1:]]


def waited(books: Books) -> list[Waited]:
    """All attempts of steps that wait, as far as they are recorded."""
    return [
        Waited(key, outcome, tuple(sorted(looks, key=lambda one: one.committed)))
        for key, (outcome, looks) in _by_attempt(books).items()
    ]


def look_faults(books: Books) -> Iterator[str]:
    """Every look that is missing, unknown, without its state, or there without a reason."""
    known = _by_attempt(books)
    for look in books.looks:
        if look.attempt_key not in known:
            yield f"{_named(look.attempt_key)}: a look, and no record"
    for one in waited(books):
        for fault in (*_ends(books, one), *_states(one), *_surplus(books, one)):
            yield f"{_named(one.key)}: {fault}"


def told(books: Books) -> dict[str, int]:
    """Figures that only tell: how long steps waited, and what happened meanwhile."""
    looks = [one for one in books.looks if one.kind is not LookKind.STOP]
    ended = [one for one in waited(books) if one.outcome == StepStatus.SUCCESS and one.looks]
    passed = sum((one.counted[-1].committed - one.counted[0].begun for one in ended), timedelta())
    worked = sum((k.committed - k.begun for one in ended for k in one.counted), timedelta())
    return {
        "seconds that steps waited": round((passed - worked).total_seconds()),
        "seconds of their looks": round(worked.total_seconds()),
        "waits that outlived the host of the look before": sum(_outlived(books, ended)),
        "looks left twice": len(looks) - len({(one.attempt_key, one.seen) for one in looks}),
        "times that outside work was ended": len(books.looks) - len(looks),
    }


def _by_attempt(books: Books) -> dict[AttemptKey, tuple[str, list[Look]]]:
    looks: dict[AttemptKey, list[Look]] = defaultdict(list)
    for look in books.looks:
        looks[look.attempt_key].append(look)
    found: dict[AttemptKey, tuple[str, list[Look]]] = {}
    for execution_id, entry in books.ledger.entries.items():
        for record in entry.steps.values():
            for attempt in record.attempts if record.type == WaitingStep.type else ():
                key = (execution_id, record.id, attempt.number)
                found[key] = (attempt.outcome, looks[key])
    return found


def _ends(books: Books, one: Waited) -> Iterator[str]:
    """An attempt's end against its looks."""
    kinds = [look.kind for look in one.looks]
    has_waited = books.logs.waits[one.key] > 0 or bool(one.chain)
    if one.outcome == StepStatus.SUCCESS:
        if LookKind.LAST not in kinds:
            yield "it succeeded without a last look"
        if LookKind.STOP in kinds:
            yield "it succeeded, and its outside work was ended"
    elif one.outcome == "lost" and has_waited:
        yield "it waited, and counts as lost"
    if books.logs.waits[one.key] > len({x.seen for x in one.looks if x.kind is LookKind.LOOK}):
        yield f"{books.logs.waits[one.key]} waits are recorded, more than there were looks"
    if one.outcome == StepStatus.CANCELLED and has_waited and LookKind.STOP not in kinds:
        yield "it was cancelled while it waited, and its outside work was not ended"


def _states(one: Waited) -> Iterator[str]:
    """Looks that knew of others than those before them."""
    by_token = {look.token: look for look in one.looks}
    for number, token in enumerate(one.chain):
        look = by_token.get(token)
        if look is None or look.kind is not LookKind.LOOK:
            yield f"look {number + 1} is known to a later one, and is not there"
        elif look.seen != one.chain[:number]:
            yield f"look {number + 1} knew of {look.seen}, and a later one of {one.chain}"
    for look in one.looks:
        if look.seen != one.chain[: len(look.seen)]:
            yield f"a look knew of {look.seen}, another of {one.chain}"


def _surplus(books: Books, one: Waited) -> Iterator[str]:
    """Looks beside those that counted; there is a reason where one could not be recorded."""
    looks = [look for look in one.looks if look.kind is not LookKind.STOP]
    by_number: dict[int, list[Look]] = defaultdict(list)
    for look in looks:
        by_number[len(look.seen)].append(look)
    for number, same in sorted(by_number.items()):
        last = number == len(one.chain)
        counts = [look for look in same if _counts(one, look, last=last)]
        others = [look for look in same if look not in counts]
        unexplained = [look for look in counts if not _has_reason(books, look)]
        faults = [look for look in others if not _has_reason(books, look)]
        for look in (*faults, *unexplained[1:]):
            yield (
                f"look {number + 1} on {look.host} at {look.committed.isoformat()} counts for"
                " nothing, though nothing was away"
            )
    yield from _after_stop(books, one, looks)


def _counts(one: Waited, look: Look, *, last: bool) -> bool:
    """Whether a look may be the one that counted, of those with its number."""
    if not last:
        return look.token in one.chain
    if look.kind is LookKind.LAST:
        return one.outcome == StepStatus.SUCCESS
    return one.outcome != "lost"


def _after_stop(books: Books, one: Waited, looks: Sequence[Look]) -> Iterator[str]:
    stops = [look.begun for look in one.looks if look.kind is LookKind.STOP]
    for look in looks:
        if stops and look.committed > min(stops) and not _has_reason(books, look):
            yield f"a look on {look.host} was committed after the outside work was ended"


def _has_reason(books: Books, look: Look) -> bool:
    return books.happened.explains_twice(look.host, look.committed) is not None


def _outlived(books: Books, ended: Sequence[Waited]) -> Iterator[bool]:
    """Of each wait, whether the host that began it was killed before it was over."""
    for one in ended:
        for before, after in zip(one.counted, one.counted[1:], strict=False):
            life = books.happened.lives[before.host]
            yield life.killed and life.ended is not None and life.ended < after.begun


def _named(key: AttemptKey) -> str:
    execution_id, step, attempt = key
    return f"attempt {attempt} of {step} of {execution_id}"
