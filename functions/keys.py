"""`/api/v2/keys`: create, list and revoke API keys; for administrators."""

from typing import TYPE_CHECKING

from functions.http import Body, Reply, Request, endpoint, new_blueprint
from scheduler.security.principals import Role

if TYPE_CHECKING:
    from scheduler.app import App

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/keys",
    role=Role.ADMIN,
    summary="Lists the API keys, without their text",
)
async def list_keys(app: "App", request: Request) -> Reply:
    """Every key, revoked and expired ones too."""
    return Reply(await app.keys.list())


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/keys",
    role=Role.ADMIN,
    summary="Makes an API key; its text is shown this once",
    body=Body.REQUIRED,
    status=201,
    model="scheduler.api.keys:KeyBody",
)
async def create_key(app: "App", request: Request) -> Reply:
    """Makes a key."""
    return Reply(await app.keys.create(request.body, request.caller), status=201)


@endpoint(
    blueprint,
    method="DELETE",
    route="api/v2/keys/{key_id}",
    role=Role.ADMIN,
    summary="Revokes an API key for good",
)
async def revoke_key(app: "App", request: Request) -> Reply:
    """Revokes a key."""
    return Reply(await app.keys.revoke(request.path["key_id"], request.caller))
