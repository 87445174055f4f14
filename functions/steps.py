"""`/api/v2/steps/types`: the step types, and what each can be told."""

from typing import TYPE_CHECKING

from functions.http import Reply, Request, endpoint, new_blueprint
from scheduler.security.principals import Role

if TYPE_CHECKING:
    from scheduler.app import App

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/steps/types",
    role=Role.VIEWER,
    summary="Lists the step types with their schemas",
)
async def read_step_types(app: "App", request: Request) -> Reply:
    """The step types."""
    from scheduler.api.step_types import list_step_types

    return Reply(list_step_types(app.registry, request.principal))
