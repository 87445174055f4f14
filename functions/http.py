"""The decorator that serves a route, and a record of every endpoint.

    blueprint = new_blueprint()

    @endpoint(blueprint, method="POST", route="api/v2/keys", role=Role.ADMIN, body=Body.REQUIRED)
    async def create_key(app: "App", request: Request) -> Reply: ...

Routes are anonymous to the Functions host: this app's own keys decide. The host imports these
modules to learn the triggers, at each cold start: they load nothing but names, and the first
request loads the app (`functions.serving`). So `App` stands in quotes, under `TYPE_CHECKING`.
"""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

import azure.functions as func

from functions.endpoints import (
    ANY_QUERY,
    REPLAYED,
    Body,
    Endpoint,
    Handler,
    Reply,
    Request,
    WithoutApp,
)
from scheduler.security.principals import Role

__all__ = [
    "ANY_QUERY",
    "ENDPOINTS",
    "REPLAYED",
    "Body",
    "Endpoint",
    "Reply",
    "Request",
    "catch_all",
    "endpoint",
    "new_blueprint",
    "paged",
]

ENDPOINTS: list[Endpoint] = []
"""Every endpoint, in the order of its declaration."""


def new_blueprint() -> func.Blueprint:
    """An empty blueprint, for `endpoint` to register on."""
    return func.Blueprint()  # type: ignore[no-untyped-call]


def endpoint(
    blueprint: func.Blueprint,
    *,
    method: str,
    route: str,
    role: Role | None,
    summary: str,
    body: Body = Body.NONE,
    query: tuple[str, ...] = (),
    status: int = 200,
    model: str | None = None,
    idempotent: bool = False,
    without_app: WithoutApp | None = None,
) -> Callable[[Handler], Handler]:
    """Serves a route by the decorated handler, whose name is the name of the function.

    `role` is the least that the caller needs, None for an open endpoint; `query` are the parameters
    that are read, any other is a 400 (a mistyped filter must not be passed over); `status` and
    `model` (`module:Class`) tell OpenAPI the usual status and the shape of the body; an
    `idempotent` endpoint reads the header `Idempotency-Key`.
    """

    def register(handler: Handler) -> Handler:
        record = Endpoint(
            name=handler.__name__,
            method=method,
            route=route,
            role=role,
            body=body,
            query=query,
            status=status,
            summary=summary,
            model=model,
            idempotent=idempotent,
            without_app=without_app,
        )
        ENDPOINTS.append(record)
        _register(blueprint, record, [method], handler)
        return handler

    return register


def paged(request: Request, body: dict[str, Any], continuation: str | None) -> Reply:
    """The reply of a list, with the address of its next page where there is one."""
    if continuation is not None:
        query = urlencode({**request.query, "continuation": continuation})
        body["next_link"] = urlunsplit(urlsplit(request.url)._replace(query=query))
    return Reply(body)


def catch_all(blueprint: func.Blueprint, route: str, handler: Handler) -> None:
    """Serves what no endpoint serves, in every method, to callers without a key too."""
    record = Endpoint(
        name=handler.__name__,
        method="ANY",
        route=route,
        role=None,
        body=Body.NONE,
        query=ANY_QUERY,
        status=404,
        summary="",
        model=None,
    )
    _register(blueprint, record, ["GET", "POST", "PUT", "PATCH", "DELETE"], handler)


def _register(
    blueprint: func.Blueprint, record: Endpoint, methods: list[str], handler: Handler
) -> None:
    async def serve(req: func.HttpRequest, context: func.Context) -> func.HttpResponse:
        from functions.serving import answer  # Loads the app, which indexing does not need.

        return await answer(record, handler, req, context)

    serve.__name__ = serve.__qualname__ = record.name
    blueprint.route(route=record.route, methods=methods, auth_level=func.AuthLevel.ANONYMOUS)(serve)
