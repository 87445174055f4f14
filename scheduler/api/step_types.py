"""The use case behind `steps/types`."""

from typing import Any

from scheduler.schedule.wording import counted
from scheduler.security.principals import Principal
from steps.registry import Registry


def list_step_types(registry: Registry, principal: Principal) -> dict[str, Any]:
    """Every step type: its schema, whether it can run here, and whether the caller may use it."""
    types = [
        {
            "type": info.type,
            "title": info.title,
            "description": info.description,
            "capabilities": sorted(info.capabilities),
            "schema": info.schema,
            "available": info.unavailable_reason is None,
            "unavailable_reason": info.unavailable_reason,
            "allowed": principal.allows_step_type(info.type),
        }
        for info in registry.types()
    ]
    rejected = [{"type": entry.type, "reason": entry.reason} for entry in registry.rejected]
    return {
        "message": counted(len(types), "step type"),
        "step_types": [entry["type"] for entry in types],
        "types": types,
        "rejected": rejected,
        "count": len(types),
    }
