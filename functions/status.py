"""`/api/v2/execution/status`: the zones, and what runs in them."""

from functions.http import Reply, Request, endpoint, new_blueprint
from scheduler.app import App
from scheduler.security.principals import Role

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/execution/status",
    role=Role.VIEWER,
    summary="The status of every zone",
)
async def read_status(app: App, request: Request) -> Reply:
    """Queues, slots and checks."""
    return Reply(await app.status.status())
