"""JSON merge patch, RFC 7396."""

from typing import Any


def merge_patch(target: Any, patch: Any) -> Any:  # noqa: ANN401
    """The target changed by the patch: null removes a member, objects merge, the rest replaces.

    Neither argument is changed.
    """
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged
