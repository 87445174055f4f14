"""How a job's steps hang together: who waits for whom, and who takes values from whom."""

from collections.abc import Iterator, Mapping, Sequence

from scheduler.api.body import pointer
from scheduler.api.faults import Faults, did_you_mean
from scheduler.api.job_steps import WrittenStep
from scheduler.jobs.model import Json, RunIf
from scheduler.jobs.templates import Reference, references


def check_graph(steps: Sequence[WrittenStep], faults: Faults) -> None:
    """Checks that ids are unique, that `depends_on` names steps, and that no step awaits itself."""
    ids: dict[str, WrittenStep] = {}
    for step in steps:
        step_id = step.fields["id"]
        if not isinstance(step_id, str):
            continue
        if step_id in ids:
            where = step.place("fields", "id")
            message = f"{step_id!r} is the id of another step; give each its own"
            faults.add(where, "duplicate_step_id", message)
        ids.setdefault(step_id, step)
    named = {id(step): _parents(step, ids, faults) for step in steps}
    parents = {step_id: named[id(step)] for step_id, step in ids.items()}
    cycle = _cycle(parents)
    if cycle:
        where = ids[cycle[0]].place("fields", "depends_on")
        path = " → ".join(cycle)
        faults.add(where, "dependency_cycle", f"the steps wait for each other in a circle: {path}")
        return
    if all(step.fields.get("depends_on") is None for step in steps):
        in_line = list(parents)
        parents = {one: in_line[place - 1 : place] for place, one in enumerate(in_line)}
    before = _ancestors(parents)
    _check_never_run(ids, parents, before, faults)
    _check_values(steps, ids, before, faults)


def _parents(step: WrittenStep, ids: Mapping[str, WrittenStep], faults: Faults) -> list[str]:
    named = step.fields.get("depends_on")
    if not isinstance(named, list):
        return []
    where = step.place("fields", "depends_on")
    found = []
    for place, step_id in enumerate(named):
        if not isinstance(step_id, str) or faults.full:
            continue
        if step_id in ids:
            found.append(step_id)
            continue
        message = f"there is no step {step_id[:64]!r} in this job{did_you_mean(step_id, ids)}"
        faults.add(pointer(where, place), "unknown_step", message)
    return found


def _cycle(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """A path from a step back to itself, or an empty list."""
    finished: set[str] = set()
    for start in parents:
        path: list[str] = []
        if found := _walk(start, parents, path, finished):
            return found
    return []


def _walk(
    step_id: str, parents: Mapping[str, Sequence[str]], path: list[str], finished: set[str]
) -> list[str]:
    if step_id in path:
        return [*path[path.index(step_id) :], step_id]
    if step_id in finished:
        return []
    path.append(step_id)
    for parent in parents[step_id]:
        if found := _walk(parent, parents, path, finished):
            return found
    path.pop()
    finished.add(step_id)
    return []


def _check_never_run(
    ids: Mapping[str, WrittenStep],
    parents: Mapping[str, Sequence[str]],
    before: Mapping[str, frozenset[str]],
    faults: Faults,
) -> None:
    """Checks that no step waits for one that runs after a failure only, where none can come."""
    for step_id, step in ids.items():
        named = step.fields.get("depends_on")
        for parent in parents[step_id]:
            never_runs = ids[parent].fields.get("run_if") == RunIf.FAILURE and not before[parent]
            if faults.full or not never_runs:
                continue
            message = (
                f"step {parent} can never run: its run_if is failure, and no step is before it;"
                f" give {parent} a depends_on, or another run_if"
            )
            where = step.place("fields", "depends_on")
            place = pointer(where, named.index(parent)) if isinstance(named, list) else step.where
            faults.add(place, "never_runs", message)


def _check_values(
    steps: Sequence[WrittenStep],
    ids: Mapping[str, WrittenStep],
    before: Mapping[str, frozenset[str]],
    faults: Faults,
) -> None:
    """Checks that each value which a template names is published by a step before its own."""
    for step in steps:
        ancestors = before.get(str(step.fields["id"]), frozenset())
        for where, reference in _named(step):
            if not faults.full:
                _check_value(reference, where, ids, ancestors, faults)


def _named(step: WrittenStep) -> Iterator[tuple[str, Reference]]:
    for name, value in step.config.items():
        yield from references(value, step.place("config", name))


def _check_value(
    reference: Reference,
    where: str,
    ids: Mapping[str, WrittenStep],
    ancestors: frozenset[str],
    faults: Faults,
) -> None:
    source, value = reference.step, reference.value
    if source not in ids:
        near = did_you_mean(source, ids)
        faults.add(where, "unknown_step", f"there is no step {source!r} in this job{near}")
        return
    if source not in ancestors:
        message = (
            f"the step does not wait for step {source}, whose value it names: add {source} to its"
            " depends_on"
        )
        faults.add(where, "step_not_before", message)
        return
    published = _published(ids[source])
    if value not in published:
        near = did_you_mean(value, published)
        message = f"step {source} does not publish {value}: add it to its publish{near}"
        faults.add(where, "value_not_published", message)


def _published(step: WrittenStep) -> list[str]:
    listed: Json = step.fields.get("publish")
    return [name for name in listed if isinstance(name, str)] if isinstance(listed, list) else []


def _ancestors(parents: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """For each step those before it, at any distance; there is no circle."""
    found: dict[str, frozenset[str]] = {}

    def ancestors(step_id: str) -> frozenset[str]:
        if step_id not in found:
            own = parents[step_id]
            found[step_id] = frozenset(own).union(*(ancestors(one) for one in own))
        return found[step_id]

    for step_id in parents:
        ancestors(step_id)
    return found
