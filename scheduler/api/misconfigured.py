"""Health while a wrong setting keeps the app from being built: no other part can be asked."""

from typing import Any

from scheduler.clock import SystemClock
from scheduler.errors import Misconfigured


def live() -> dict[str, Any]:
    """That this process answers."""
    return {"message": "alive", "status": "live", "timestamp": SystemClock().now()}


def not_ready(error: Misconfigured) -> dict[str, Any]:
    """The one check that there is: it names the setting and the remedy, and no value."""
    return {
        "success": False,
        "message": "not ready: see checks",
        "status": "not_ready",
        "checks": [{"name": "configuration", "status": "failed", "detail": error.message}],
        "timestamp": SystemClock().now(),
    }
