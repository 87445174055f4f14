"""`/api/v2/control`: whether the scheduler starts runs."""

from typing import TYPE_CHECKING

from functions.http import Body, Reply, Request, endpoint, new_blueprint
from scheduler.security.principals import Role

if TYPE_CHECKING:
    from scheduler.app import App

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/control",
    role=Role.VIEWER,
    summary="Reads whether the scheduler starts runs",
)
async def read_control(app: "App", request: Request) -> Reply:
    """The control word, why it was said, when and by whom."""
    return Reply(await app.controls.read())


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/control",
    role=Role.ADMIN,
    summary="Sets the scheduler to running, paused or stopped",
    body=Body.REQUIRED,
    model="scheduler.api.action_bodies:ControlBody",
)
async def set_control(app: "App", request: Request) -> Reply:
    """Lets the scheduler start runs, or keeps it from that."""
    return Reply(await app.controls.write(request.caller, request.body))
