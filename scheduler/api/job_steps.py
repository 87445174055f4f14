"""The steps of a job as clients write them: spellings, own fields of their types, dependencies."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from scheduler.api.body import pointer
from scheduler.api.faults import Faults, did_you_mean, pointer_of, unknown_field
from scheduler.api.job_wire import StepBody
from scheduler.jobs import templates
from scheduler.jobs.model import LONGEST_CALL_SECONDS, LONGEST_JOB_SECONDS, Json
from steps.contract import DEFERRABLE, StepConfig, StepType
from steps.registry import Registry, StepTypeNotFound

STEP_FIELDS = frozenset(StepBody.model_fields)
_OTHER_SPELLINGS = {"step_id": "id", "step_name": "name", "step_type": "type"}


@dataclass(slots=True)
class WrittenStep:
    """One step as it was written: the common fields, its type's own, and where each stood."""

    where: str
    fields: dict[str, Json] = field(default_factory=dict)
    config: dict[str, Json] = field(default_factory=dict)
    places: dict[tuple[str, str], str] = field(default_factory=dict)
    nested: bool = False

    def place(self, group: str, name: str) -> str:
        """The pointer of a field; of one that is missing, where it should be."""
        inside = group == "config" and (self.nested or name in STEP_FIELDS)
        parent = f"{self.where}/config" if inside else self.where
        return self.places.get((group, name)) or pointer(parent, name)

    def put(self, group: str, name: str, value: Json, where: str, faults: Faults) -> None:
        """Notes a field, unless it is null (which means absent) or was given before."""
        if value is None:
            return
        if (group, name) in self.places:
            also = self.places[group, name]
            faults.add(where, "given_twice", f"is also given as {also}; keep one of them")
            return
        self.places[group, name] = where
        (self.fields if group == "fields" else self.config)[name] = value


def read_step(step: Mapping[str, Json], number: int, where: str, faults: Faults) -> WrittenStep:
    """Sorts the fields of a step into common ones and those of its type; `number` counts from 1."""
    written = WrittenStep(where)
    nested = step.get("config")
    written.nested = isinstance(nested, dict) and bool(nested)
    for name, value in step.items():
        place = pointer(where, name)
        common = _OTHER_SPELLINGS.get(name, name)
        if name == "config":
            if value is not None and not isinstance(value, dict):
                faults.add(place, "wrong_type", "must be an object with the fields of the type")
        else:
            group = "fields" if common in STEP_FIELDS else "config"
            written.put(group, common, value, place, faults)
    if isinstance(nested, dict):
        for name, value in nested.items():
            place = pointer(f"{where}/config", name)
            written.put("config", name, value, place, faults)
    written.fields.setdefault("id", f"step_{number}")
    return written


def check_config(step: WrittenStep, registry: Registry, faults: Faults) -> None:
    """Checks the type of a step, and its own fields against that type's `Config`."""
    step_type = step.fields.get("type")
    if not isinstance(step_type, str):
        return
    try:
        found = registry.get(step_type)
    except StepTypeNotFound as error:
        known = registry.names
        message = f"there is no step type {step_type[:64]!r}; the known ones are {', '.join(known)}"
        if step_type in known:
            message = error.message
        hint = did_you_mean(step_type, known)
        faults.add(step.place("fields", "type"), "unknown_step_type", message + hint)
        return
    _check_fields(step, step_type, found.Config, faults)
    _check_templates(step, found.Config, faults)
    _check_timeout(step, found, faults)


def _check_fields(
    step: WrittenStep, step_type: str, config_model: type[StepConfig], faults: Faults
) -> None:
    try:
        config_model.model_validate_json(json.dumps(step.config))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if faults.full:
                return
            name = str(detail["loc"][0]) if detail["loc"] else ""
            where = step.place("config", name) if name else step.where
            if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
                known = STEP_FIELDS | config_model.model_fields.keys()
                message = unknown_field(name, f"a step of type {step_type}", known)
                faults.add(where, "unknown_field", message)
            else:
                where = pointer_of(detail, step.config.get(name), where, skip=1)
                faults.add_detail(detail, where)


def _check_templates(step: WrittenStep, config_model: type[StepConfig], faults: Faults) -> None:
    for name, value in step.config.items():
        look = templates.check if name in config_model.TEMPLATED else templates.refuse
        faults.extend(look(value, step.place("config", name)))


def _check_timeout(step: WrittenStep, step_type: StepType, faults: Faults) -> None:
    timeout = step.fields.get("timeout")
    if DEFERRABLE in step_type.capabilities or not isinstance(timeout, int | float):
        return
    if LONGEST_CALL_SECONDS < timeout <= LONGEST_JOB_SECONDS:
        message = (
            f"must be at most {LONGEST_CALL_SECONDS}: a step of type {step_type.type} works within"
            " one call; only types that wait for outside work may take longer"
        )
        faults.add(step.place("fields", "timeout"), "out_of_range", message)
