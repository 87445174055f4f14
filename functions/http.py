"""HTTP in and out: authentication, the body, problem+json, and a record of every endpoint.

    blueprint = new_blueprint()

    @endpoint(blueprint, method="POST", route="api/v2/keys", role=Role.ADMIN, body=Body.REQUIRED)
    async def create_key(app: App, request: Request) -> Reply: ...

Routes are anonymous to the Functions host: this app's own keys decide.
"""

import json
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

import azure.functions as func
from pydantic import BaseModel

from scheduler.api.body import read_body
from scheduler.api.faults import did_you_mean
from scheduler.api.problems import CONTENT_TYPE, problem
from scheduler.app import App, get_app
from scheduler.errors import FieldError, Forbidden, InvalidRequest, NotAuthenticated
from scheduler.security.audit import Caller
from scheduler.security.principals import Principal, Role
from scheduler.telemetry import bound, get_logger

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
ANY_QUERY = ("*",)
"""For an endpoint whose query is not looked at."""
_EVERY_REPLY = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

log = get_logger(__name__)


class Body(StrEnum):
    """Whether an endpoint reads the request's body; an optional one that is empty is `{}`."""

    NONE = "none"
    OPTIONAL = "optional"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a handler is told. `principal` is None on open endpoints only."""

    caller: Caller
    path: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    url: str
    body: dict[str, Any]

    @property
    def principal(self) -> Principal:
        """The authenticated caller.

        Raises:
            NotAuthenticated: the endpoint is an open one.
        """
        if self.caller.principal is None:
            raise NotAuthenticated("this endpoint does not authenticate its callers")
        return self.caller.principal


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers; `success: true` is put into its body. Instants become ISO 8601."""

    body: Mapping[str, Any] = field(default_factory=dict)
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


type Handler = Callable[[App, Request], Awaitable[Reply]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint, as OpenAPI is to tell it; `name` is also the `action` of its log lines."""

    name: str
    method: str
    route: str
    role: Role | None
    body: Body
    query: tuple[str, ...]
    status: int
    summary: str
    model: type[BaseModel] | None


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
    model: type[BaseModel] | None = None,
) -> Callable[[Handler], Handler]:
    """Serves a route by the decorated handler, whose name is the name of the function.

    `role` is the least that the caller needs, None for an open endpoint; `query` are the parameters
    that are read, any other is a 400 (a mistyped filter must not be passed over); `status` and
    `model` tell OpenAPI the usual status and the shape of the body.
    """

    def register(handler: Handler) -> Handler:
        name = handler.__name__
        record = Endpoint(
            name=name,
            method=method,
            route=route,
            role=role,
            body=body,
            query=query,
            status=status,
            summary=summary,
            model=model,
        )
        ENDPOINTS.append(record)
        _register(blueprint, record, [method], handler)
        return handler

    return register


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
        return await _serve(record, handler, req, _trace_id(req, context))

    serve.__name__ = serve.__qualname__ = record.name
    blueprint.route(route=record.route, methods=methods, auth_level=func.AuthLevel.ANONYMOUS)(serve)


async def _serve(
    record: Endpoint, handler: Handler, req: func.HttpRequest, trace_id: str
) -> func.HttpResponse:
    started = time.perf_counter()
    caller = Caller(None, _address(req.headers), trace_id)
    try:
        app = get_app()
        try:
            caller = await _authenticated(app, record, req, caller)
            response = await _handled(app, record, handler, req, caller)
        except (NotAuthenticated, Forbidden) as error:
            target = f"{record.method} {urlsplit(req.url).path}"
            await app.audit.record(caller, record.name, target, refused=error.code)
            raise
    except Exception as error:
        failure = problem(error, trace_id=trace_id)
        response = _response(failure.body, failure.status, failure.headers, CONTENT_TYPE, trace_id)
    duration_ms = round((time.perf_counter() - started) * 1000, 1)
    log.info(
        "%s %s answered with %s",
        record.method,
        record.route,
        response.status_code,
        extra={
            "action": record.name,
            "status": response.status_code,
            "duration_ms": duration_ms,
            "principal": caller.principal.id if caller.principal else "",
            "trace_id": trace_id,
        },
    )
    return response


async def _authenticated(
    app: App, record: Endpoint, req: func.HttpRequest, caller: Caller
) -> Caller:
    if record.role is None:
        return caller
    principal = await app.authenticator.authenticate(req.headers, req.params)
    return Caller(principal, caller.address, caller.trace_id)


async def _handled(
    app: App, record: Endpoint, handler: Handler, req: func.HttpRequest, caller: Caller
) -> func.HttpResponse:
    principal = caller.principal
    with bound(trace_id=caller.trace_id, principal=principal.id if principal else ""):
        if record.role is not None and principal is not None:
            principal.require(record.role)
        _check_query(record, req.params)
        request = Request(
            caller=caller,
            path=req.route_params,
            query=req.params,
            headers=req.headers,
            url=req.url,
            body=_read(record, req),
        )
        reply = await handler(app, request)
        body = {"success": True, **reply.body}
        return _response(body, reply.status, reply.headers, "application/json", caller.trace_id)


def _read(record: Endpoint, req: func.HttpRequest) -> dict[str, Any]:
    content = req.get_body() if record.body is not Body.NONE else b""
    if record.body is Body.REQUIRED or content.strip():
        return read_body(content, req.headers.get("content-type"))
    return {}


def _check_query(record: Endpoint, query: Mapping[str, str]) -> None:
    known = record.query
    if known == ANY_QUERY:
        return
    its = f"; it has {', '.join(known)}" if known else "; it has none"
    faults = [
        FieldError(
            "",
            "unknown_parameter",
            f"{name[:64]!r} is no query parameter of this call{did_you_mean(name, known) or its}",
        )
        for name in query
        if name not in known
    ]
    if faults:
        raise InvalidRequest(faults, message=faults[0].message)


def _response(
    body: Mapping[str, Any], status: int, headers: Mapping[str, str], kind: str, trace_id: str
) -> func.HttpResponse:
    text = json.dumps(body, ensure_ascii=False, allow_nan=False, default=_plain)
    return func.HttpResponse(
        text.encode("utf-8", "replace"),
        status_code=status,
        headers={**_EVERY_REPLY, "X-Trace-Id": trace_id, **headers},
        mimetype=kind,
    )


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a reply")


def _trace_id(req: func.HttpRequest, context: func.Context) -> str:
    """The trace that the host or the client began, else a new one."""
    begun = getattr(context.trace_context, "trace_parent", None)
    for text in (begun, req.headers.get("traceparent")):
        match = _TRACEPARENT.fullmatch(text or "")
        if match is not None:
            return match[1]
    return secrets.token_hex(16)


def _address(headers: Mapping[str, str]) -> str:
    # The platform appends the address it saw; what stands before it is the client's own word.
    return headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
