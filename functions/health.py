"""`/api/health`: for probes; open to all, and silent about everything but health."""

from functions.http import Reply, Request, endpoint, new_blueprint
from scheduler.app import App

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="GET",
    route="api/health/live",
    role=None,
    summary="Whether this process answers",
)
async def read_live(app: App, request: Request) -> Reply:
    """Answers."""
    return Reply(app.status.live())


@endpoint(
    blueprint,
    method="GET",
    route="api/health/ready",
    role=None,
    summary="Whether this instance can do its work",
)
async def read_ready(app: App, request: Request) -> Reply:
    """503, with the checks, when it cannot."""
    ready, body = await app.status.ready()
    return Reply(body, 200 if ready else 503, {} if ready else {"Retry-After": "5"})
