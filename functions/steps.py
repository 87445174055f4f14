"""`/api/v2/steps/types`: the step types, and what each can be told."""

from functions.http import Reply, Request, endpoint, new_blueprint
from scheduler.api.step_types import list_step_types
from scheduler.app import App
from scheduler.security.principals import Role

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/steps/types",
    role=Role.VIEWER,
    summary="Lists the step types with their schemas",
)
async def read_step_types(app: App, request: Request) -> Reply:
    """The step types."""
    return Reply(list_step_types(app.registry, request.principal))
