"""A body of a few fields → its model, with every fault at once."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from scheduler.api.faults import Faults, pointer_of, unknown_field


def read_model[Model: BaseModel](
    model: type[Model], document: Mapping[str, Any], owner: str
) -> Model:
    """Reads a body; a field that is null counts as absent. `owner` names it: `a key`.

    Raises:
        InvalidRequest: with all faults.
    """
    faults = Faults()
    body = note_faults(model, document, owner, faults)
    faults.check()
    if body is None:
        raise AssertionError("a body without faults is a body")
    return body


def note_faults[Model: BaseModel](
    model: type[Model], document: Mapping[str, Any], owner: str, faults: Faults
) -> Model | None:
    """Reads a body as `read_model` does, and notes its faults; None when it has any."""
    given = {name: value for name, value in document.items() if value is not None}
    try:
        return model.model_validate_json(json.dumps(given))
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if faults.full:
                break
            where = pointer_of(detail, given, "")
            if detail["type"] == "extra_forbidden":
                message = unknown_field(str(detail["loc"][-1]), owner, model.model_fields)
                faults.add(where, "unknown_field", message)
            else:
                faults.add_detail(detail, where)
        return None
