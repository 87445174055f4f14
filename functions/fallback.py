"""Every path under `/api` that no endpoint serves: 404, or 405 with the methods that there are."""

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from functions.http import ENDPOINTS, Reply, Request, catch_all, new_blueprint
from scheduler.errors import MethodNotAllowed, NotFound

if TYPE_CHECKING:
    from scheduler.app import App

blueprint = new_blueprint()
_PARAMETER = re.compile(r"\{[^}]+\}")


async def no_such_route(app: "App", request: Request) -> Reply:
    """Says what is wrong with the path or the method."""
    path = urlsplit(request.url).path.strip("/")
    allowed = sorted({e.method for e in ENDPOINTS if _matches(e.route, path)})
    if allowed:
        methods = ", ".join(allowed)
        raise MethodNotAllowed(f"/{path} has the methods {methods}", allowed=allowed)
    raise NotFound(
        f"there is no /{path[:200]} here: docs/api.md lists all paths, and no id has a slash in it",
        code="route_not_found",
    )


def _matches(route: str, path: str) -> bool:
    pattern = "[^/]+".join(re.escape(part) for part in _PARAMETER.split(route))
    return re.fullmatch(pattern, path, re.IGNORECASE) is not None


catch_all(blueprint, "api/{*path}", no_such_route)
