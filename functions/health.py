"""`/api/health`: for probes; open to all, and silent about everything but health."""

from typing import TYPE_CHECKING

from functions.http import Reply, Request, endpoint, new_blueprint
from scheduler.api import misconfigured
from scheduler.errors import Misconfigured

if TYPE_CHECKING:
    from scheduler.app import App

blueprint = new_blueprint()


def _live_without_app(_error: Misconfigured) -> Reply:
    return Reply(misconfigured.live())


def _ready_without_app(error: Misconfigured) -> Reply:
    return Reply(misconfigured.not_ready(error), 503, {"Retry-After": "60"})


@endpoint(
    blueprint,
    method="GET",
    route="api/health/live",
    role=None,
    summary="Whether this process answers",
    without_app=_live_without_app,
)
async def read_live(app: "App", request: Request) -> Reply:
    """Answers."""
    return Reply(app.health.live())


@endpoint(
    blueprint,
    method="GET",
    route="api/health/ready",
    role=None,
    summary="Whether this instance can do its work",
    without_app=_ready_without_app,
)
async def read_ready(app: "App", request: Request) -> Reply:
    """503, with the checks, when it cannot."""
    ready, body = await app.health.ready()
    return Reply(body, 200 if ready else 503, {} if ready else {"Retry-After": "5"})
