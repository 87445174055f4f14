"""Field tables of the docs beside the models that they tell of."""

import json

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tests.docs.markdown import table, words

REQUIRED = "required"
NONE = "\N{EN DASH}"


def documented_defaults(text: str) -> dict[str, str]:
    """Field → default, as the field tables of a text have them."""
    return {words(row["field"])[0]: row["default"] for row in table(text, "field", "default")}


def real_defaults(model: type[BaseModel]) -> dict[str, str]:
    """Field → default, as a table is to show it."""
    return {field.alias or name: _shown(field) for name, field in model.model_fields.items()}


def _shown(field: FieldInfo) -> str:
    if field.is_required():
        return REQUIRED
    default = field.get_default(call_default_factory=True)
    return NONE if default is None else f"`{json.dumps(default)}`"
