"""A request on its way to its reply: the caller, the body, the handler, problems, the log line."""

import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func

from functions.endpoints import ANY_QUERY, Body, Endpoint, Handler, Reply, Request
from scheduler.api.body import read_body
from scheduler.api.faults import did_you_mean
from scheduler.api.idempotency import Once, once_of
from scheduler.api.problems import CONTENT_TYPE, problem
from scheduler.app import App, get_app
from scheduler.dispatch.ids import is_job_id, parse_execution_id
from scheduler.errors import FieldError, Forbidden, InvalidRequest, Misconfigured, NotAuthenticated
from scheduler.security.principals import Caller
from scheduler.telemetry import bound, get_logger, one_line

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")
_EVERY_REPLY = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
_NAMED: dict[str, Callable[[str], object]] = {
    "job_id": is_job_id,
    "execution_id": parse_execution_id,
}
"""The keys of a line that the path or the reply names, and what tells an id from other text."""
_LONGEST_LOGGED = 200

log = get_logger(__name__)


async def answer(
    record: Endpoint, handler: Handler, req: func.HttpRequest, context: func.Context
) -> func.HttpResponse:
    """Serves one request by an endpoint's handler; every failure becomes a problem."""
    return await _Exchange(record, handler, req, _trace_id(req, context)).answer()


class _Exchange:
    """One request, and what is known of its caller so far."""

    def __init__(
        self, record: Endpoint, handler: Handler, req: func.HttpRequest, trace_id: str
    ) -> None:
        self._record = record
        self._handler = handler
        self._req = req
        self._path = one_line(urlsplit(req.url).path)
        self._caller = Caller(None, _address(req.headers), trace_id)

    async def answer(self) -> func.HttpResponse:
        started = time.perf_counter()
        trace_id = self._caller.trace_id
        try:
            reply = await self._reply()
            response = _response(reply, "application/json", trace_id)
        except Exception as error:
            failure = problem(error, trace_id=trace_id)
            reply = Reply(failure.body, failure.status, failure.headers)
            response = _response(reply, CONTENT_TYPE, trace_id)
        self._log(reply, time.perf_counter() - started)
        return response

    async def _reply(self) -> Reply:
        try:
            app = get_app()
        except Misconfigured as error:
            if self._record.without_app is None:
                raise
            return _successful(self._record.without_app(error))
        target = app.redactor.text(f"{self._req.method} {self._path}")
        try:
            await self._authenticate(app)
            return await self._handle(app)
        except NotAuthenticated as error:
            await app.audit.record_unknown(self._caller, self._record.name, target, error)
            raise
        except Forbidden as error:
            await app.audit.record(self._caller, self._record.name, target, refused=error.code)
            raise

    async def _authenticate(self, app: App) -> None:
        if self._record.role is not None:
            principal = await app.authenticator.authenticate(self._req.headers, self._req.params)
            self._caller = Caller(principal, self._caller.address, self._caller.trace_id)

    async def _handle(self, app: App) -> Reply:
        record, req, principal = self._record, self._req, self._caller.principal
        with bound(trace_id=self._caller.trace_id, principal=principal.id if principal else ""):
            if record.role is not None and principal is not None:
                principal.require(record.role)
            _check_query(record, req)
            body = _read(record, req)
            request = Request(
                caller=self._caller,
                path=req.route_params,
                query=req.params,
                headers=req.headers,
                url=req.url,
                body=body,
                once=self._once(body),
            )
            return _successful(await self._handler(app, request))

    def _once(self, body: Mapping[str, Any]) -> Once | None:
        key, principal = self._req.headers.get("idempotency-key"), self._caller.principal
        if not self._record.idempotent or key is None or principal is None:
            return None
        return once_of(principal, key, f"{self._req.method} {self._path}", body)

    def _log(self, reply: Reply, seconds: float) -> None:
        """The one line of this request. Its path comes from outside, so its length is bounded."""
        path = self._path[:_LONGEST_LOGGED]
        failed = reply.status >= HTTPStatus.BAD_REQUEST
        principal = self._caller.principal
        log.info(
            "%s %s answered with %s",
            self._req.method,
            path,
            reply.status,
            extra={
                "action": self._record.name,
                "method": self._req.method,
                "route": f"/{self._record.route}",
                "path": path,
                "status": reply.status,
                "error_code": reply.body.get("code", "") if failed else "",
                "duration_ms": round(seconds * 1000, 1),
                "principal": principal.id if principal else "",
                "address": self._caller.address[:_LONGEST_LOGGED],
                "trace_id": self._caller.trace_id,
                **self._ids(reply),
            },
        )

    def _ids(self, reply: Reply) -> dict[str, str]:
        """The well-formed ids of the path, or else of the reply."""
        found = {name: self._req.route_params.get(name) or reply.body.get(name) for name in _NAMED}
        return {
            name: text
            for name, text in found.items()
            if isinstance(text, str) and _NAMED[name](text)
        }


def _successful(reply: Reply) -> Reply:
    """The reply with `success: true`, unless its body says otherwise."""
    return replace(reply, body={"success": True, **reply.body})


def _read(record: Endpoint, req: func.HttpRequest) -> dict[str, Any]:
    content = req.get_body() if record.body is not Body.NONE else b""
    if record.body is Body.REQUIRED or content.strip():
        return read_body(content, req.headers.get("content-type"))
    return {}


def _check_query(record: Endpoint, req: func.HttpRequest) -> None:
    known = record.query
    if known == ANY_QUERY:
        return
    its = f"; it has {', '.join(known)}" if known else "; it has none"
    # The host hands on one text for each name; that of a name given twice is a guess.
    given = parse_qsl(urlsplit(req.url).query, keep_blank_values=True)
    faults = [
        FieldError(
            "",
            "repeated_parameter",
            f"the query parameter {name} is given {count} times; give it once",
        )
        for name, count in Counter(name.lower() for name, _ in given).items()
        if count > 1 and name in known
    ]
    faults += [
        FieldError(
            "",
            "unknown_parameter",
            f"{name[:64]!r} is no query parameter of this call{did_you_mean(name, known) or its}",
        )
        for name in req.params
        if name not in known
    ]
    if faults:
        raise InvalidRequest(faults, message=faults[0].message)


def _response(reply: Reply, kind: str, trace_id: str) -> func.HttpResponse:
    headers = {**_EVERY_REPLY, "X-Trace-Id": trace_id, **reply.headers}
    if reply.status == HTTPStatus.NOT_MODIFIED:
        return func.HttpResponse(b"", status_code=reply.status, headers=headers, mimetype=kind)
    if reply.content is not None:
        kind = headers.pop("Content-Type")
        return func.HttpResponse(
            reply.content, status_code=reply.status, headers=headers, mimetype=kind
        )
    text = json.dumps(reply.body, ensure_ascii=False, allow_nan=False, default=_plain)
    return func.HttpResponse(
        text.encode("utf-8", "replace"),
        status_code=reply.status,
        headers=headers,
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
