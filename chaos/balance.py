"""The balance sheet: what was asked for and due, what was recorded, and what really happened."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos.books import Books
from chaos.ledger import Entry, Ledger
from chaos.twice import effect_faults
from chaos.waits import look_faults, told, waited
from scheduler.dispatch.ids import Trigger, scheduled_id
from scheduler.execution.rules.retry import MAX_INTERRUPTIONS
from scheduler.execution.rules.states import RunState

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the sheet: what was counted, and each case in which it is not as it has to be."""

    what: str
    count: int
    faults: tuple[str, ...] = ()

    @property
    def balances(self) -> bool:
        """Whether it is as it has to be."""
        return not self.faults


@dataclass
class Sheet:
    """The lines that have to balance, and figures that only tell."""

    lines: list[Line] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict)

    @property
    def balances(self) -> bool:
        """Whether every line does."""
        return all(line.balances for line in self.lines)

    def document(self) -> dict[str, object]:
        """The sheet as a JSON object; of many faults the first ones."""
        return {
            "balances": self.balances,
            "lines": [
                {
                    "what": line.what,
                    "count": line.count,
                    "wrong": len(line.faults),
                    "faults": list(line.faults[:_SHOWN]),
                }
                for line in self.lines
            ],
            "told": self.told,
        }


def balance(books: Books) -> Sheet:
    """Draws up the sheet."""
    sheet = Sheet()
    entries = books.ledger.entries
    sheet.lines += [
        Line("scheduled executions that were due", _due(books), tuple(_lost_scheduled(books))),
        Line("executions that were asked for", len(books.asked), tuple(_lost_asked(books))),
        Line("executions recorded", len(entries), tuple(_unasked(books))),
        Line("finished, in a state they may end in", _finished(entries), tuple(_ends(books))),
        Line("never early, by the clock of its host", _due(books), tuple(_early(entries))),
        Line("attempts, each claimed by one host", len(books.logs.hosts), tuple(_claimed(books))),
        Line("histories of attempts without a gap", _records(entries), tuple(_histories(entries))),
        Line("effects in the database", len(books.effects), tuple(effect_faults(books))),
        Line("looks of steps that wait", len(books.looks), tuple(look_faults(books))),
        Line("jobs that never run beside themselves", _alone(books), tuple(_beside(books))),
        Line("day rows, one for each execution", len(books.ledger.days), tuple(_day_rows(books))),
        Line("left over", sum(books.ledger.left_over.values()), tuple(_left_over(books.ledger))),
    ]
    ends = Counter(f"ended {entry.run.state}" for entry in entries.values())
    sheet.told |= dict(sorted(ends.items()))
    sheet.told["attempts lost"] = _outcomes(entries)["lost"]
    sheet.told["attempts failed"] = _outcomes(entries)["failed"]
    sheet.told["effects left twice"] = sum(
        count - 1
        for count in Counter((one.execution_id, one.step_id) for one in books.effects).values()
    )
    sheet.told |= told(books)
    return sheet


def _due(books: Books) -> int:
    return sum(len(job.instants) for job in books.jobs)


def _lost_scheduled(books: Books) -> Iterator[str]:
    for job in books.jobs:
        for instant in job.instants:
            execution_id = scheduled_id(job.job_id, instant)
            if execution_id not in books.ledger.entries:
                yield f"lost: {execution_id}"


def _lost_asked(books: Books) -> Iterator[str]:
    for asked in books.asked:
        if asked.execution_id is None:
            yield f"no answer: {asked.ask.key} for {asked.ask.job_id}, {asked.tries} tries"
        elif asked.execution_id not in books.ledger.entries:
            yield f"lost: {asked.execution_id}"


def _unasked(books: Books) -> Iterator[str]:
    """Executions that nobody asked for; a repeated ask without a working key may make one more."""
    promised = {asked.execution_id for asked in books.asked}
    due = {scheduled_id(job.job_id, instant) for job in books.jobs for instant in job.instants}
    spare: Counter[str] = Counter()
    for asked in books.asked:
        spare[asked.ask.job_id] += 0 if books.idempotent else max(asked.tries - 1, 0)
    for execution_id, entry in books.ledger.entries.items():
        if execution_id in promised or execution_id in due:
            continue
        job_id = entry.run.job_id
        spare[job_id] -= 1
        if entry.run.trigger is not Trigger.MANUAL or spare[job_id] < 0:
            yield f"nobody asked for {execution_id}"


def _finished(entries: dict[str, Entry]) -> int:
    return sum(entry.run.state.finished for entry in entries.values())


def _ends(books: Books) -> Iterator[str]:
    ends = {job.job_id: job.ends for job in books.jobs}
    cancelled = {one.execution_id for one in books.asked if one.cancelled in (200, 202)}
    for execution_id, entry in books.ledger.entries.items():
        run = entry.run
        allowed = set(ends[run.job_id])
        if execution_id in cancelled:
            allowed.add(RunState.CANCELLED)
        if any(_was_lost_too_often(record_outcomes(entry, place)) for place in entry.steps):
            allowed.add(RunState.FAILED)
        if run.state not in allowed:
            yield f"{execution_id} is {run.state}: {run.message or _why(entry)}"


def _why(entry: Entry) -> str:
    words = [
        f"{record.id}: {record.status}, {record.error_code} {record.error_message}"
        for record in entry.steps.values()
        if record.status != "success"
    ]
    return "; ".join(words) or "no step has started"


def record_outcomes(entry: Entry, place: int) -> list[str]:
    """The outcomes of a step's attempts, in order."""
    return [attempt.outcome for attempt in entry.steps[place].attempts]


def _was_lost_too_often(outcomes: list[str]) -> bool:
    # The last of them is the one that ends the step: it is recorded as failed.
    return outcomes.count("lost") >= MAX_INTERRUPTIONS and outcomes[-1] != "success"


def _outcomes(entries: dict[str, Entry]) -> Counter[str]:
    return Counter(
        attempt.outcome
        for entry in entries.values()
        for record in entry.steps.values()
        for attempt in record.attempts
    )


def _early(entries: dict[str, Entry]) -> Iterator[str]:
    for execution_id, entry in entries.items():
        start, scheduled = entry.run.start_time, entry.run.trigger is Trigger.SCHEDULE
        if scheduled and start is not None and start < entry.run.scheduled_time:
            yield f"{execution_id} started at {start.isoformat()}"


def _claimed(books: Books) -> Iterator[str]:
    looked = {one.key for one in waited(books)}  # each of their looks is begun by some host
    for (execution_id, step, attempt), hosts in books.logs.hosts.items():
        if len(hosts) > 1 and (execution_id, step, attempt) not in looked:
            yield f"attempt {attempt} of {step} of {execution_id} began on {', '.join(hosts)}"
        elif execution_id not in books.ledger.entries:
            yield f"an attempt of {execution_id}, which is not recorded"


def _records(entries: dict[str, Entry]) -> int:
    return sum(len(entry.steps) for entry in entries.values())


def _histories(entries: dict[str, Entry]) -> Iterator[str]:
    for execution_id, entry in entries.items():
        for place, record in entry.steps.items():
            numbers = [attempt.number for attempt in record.attempts]
            outcomes = record_outcomes(entry, place)
            if numbers != list(range(1, len(numbers) + 1)):
                yield f"{record.id} of {execution_id}: attempts {numbers}"
            if "success" in outcomes[:-1] or (entry.run.state.finished and "running" in outcomes):
                yield f"{record.id} of {execution_id}: {outcomes}"


def _alone(books: Books) -> int:
    return sum(job.alone for job in books.jobs)


def _beside(books: Books) -> Iterator[str]:
    """Executions of such a job whose effects stand between those of another one of it."""
    for job in books.jobs:
        if not job.alone:
            continue
        mine = [one for one in books.effects if one.execution_id.startswith(f"{job.job_id}.")]
        done: list[str] = []
        for effect in sorted(mine, key=lambda one: one.committed):
            if done and done[-1] == effect.execution_id:
                continue
            if effect.execution_id in done:
                yield f"{effect.execution_id} ran beside {done[-1]}"
            done.append(effect.execution_id)


def _day_rows(books: Books) -> Iterator[str]:
    ledger = books.ledger
    for execution_id, entry in ledger.entries.items():
        missing = int(entry.run.state is not RunState.SUCCESS)
        if ledger.days[execution_id] != 1 or ledger.days_not_successful[execution_id] != missing:
            rows = ledger.days[execution_id], ledger.days_not_successful[execution_id]
            yield f"{execution_id}, {entry.run.state}: {rows[0]} and {rows[1]} rows"


def _left_over(ledger: Ledger) -> Iterator[str]:
    for what, count in ledger.left_over.items():
        if count:
            yield f"{count} of {what}"
