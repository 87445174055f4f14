"""`/api/v2/execution/status`: the zones, and what runs in them."""

from typing import TYPE_CHECKING

from functions.http import Reply, Request, endpoint, new_blueprint
from scheduler.security.principals import Role

if TYPE_CHECKING:
    from scheduler.app import App

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/execution/status",
    role=Role.VIEWER,
    summary="The status of every zone",
)
async def read_status(app: "App", request: Request) -> Reply:
    """Queues, slots and checks."""
    return Reply(await app.status.status())
