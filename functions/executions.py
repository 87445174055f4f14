"""Executions: run a job now, and read how a run went."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from functions.http import REPLAYED, Body, Reply, Request, endpoint, new_blueprint
from scheduler.security.principals import Role

if TYPE_CHECKING:
    from scheduler.api.executions import ExecutionReply
    from scheduler.app import App

MAX_WAIT_SECONDS = 100
POLL_SECONDS = 1
_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})", re.IGNORECASE)

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs/execute",
    role=Role.OPERATOR,
    summary="Runs a job now: one given in the body, or a stored one",
    body=Body.REQUIRED,
    status=202,
    idempotent=True,
)
async def execute_job(app: "App", request: Request) -> Reply:
    """Starts a job; with `Prefer: wait=N` the reply waits for its end, up to N seconds."""
    wait = _wait_seconds(request.headers)
    reply = await app.executions.execute(
        request.caller, request.principal, request.body, wait, request.once
    )
    return _started(request, reply, wait)


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs/{job_id}/run",
    role=Role.OPERATOR,
    summary="Runs a stored job now",
    body=Body.OPTIONAL,
    status=202,
    model="scheduler.api.action_bodies:RunBody",
    idempotent=True,
)
async def run_job(app: "App", request: Request) -> Reply:
    """Starts a stored job; `Prefer: wait=N` as for execute."""
    wait = _wait_seconds(request.headers)
    reply = await app.executions.run(
        request.caller,
        request.principal,
        request.path["job_id"],
        request.body,
        wait,
        request.once,
    )
    return _started(request, reply, wait)


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs/{job_id}/backfill",
    role=Role.OPERATOR,
    summary="Runs what a job's schedule missed in a span of the past",
    body=Body.REQUIRED,
    status=202,
    model="scheduler.api.action_bodies:BackfillBody",
)
async def backfill_job(app: "App", request: Request) -> Reply:
    """Starts the missed runs, one after another; 200 when there are none."""
    body = await app.backfills.backfill(
        request.caller, request.principal, request.path["job_id"], request.body
    )
    return Reply(body, 202 if body["count"] else 200)


def _started(request: Request, reply: "ExecutionReply", wait: int) -> Reply:
    path = f"/api/v2/executions/{reply.execution_id}"
    target = urlsplit(request.url)
    headers = {
        "Location": path,
        "Operation-Location": f"{target.scheme}://{target.netloc}{path}",
    }
    if wait:
        headers["Preference-Applied"] = f"wait={wait}"
    if reply.replayed:
        headers |= REPLAYED
    if reply.finished:
        return Reply(reply.body, 200, headers)
    return Reply(reply.body, 202, headers | {"Retry-After": str(POLL_SECONDS)})


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/executions/{execution_id}",
    role=Role.VIEWER,
    summary="Reads an execution and its steps",
)
async def read_execution(app: "App", request: Request) -> Reply:
    """An execution; while it is unfinished, `Retry-After` says when to look again."""
    reply = await app.executions.read(request.path["execution_id"])
    return Reply(reply.body, 200, {} if reply.finished else {"Retry-After": str(POLL_SECONDS)})


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/executions/{execution_id}/cancel",
    role=Role.OPERATOR,
    summary="Cancels an execution",
    body=Body.OPTIONAL,
    model="scheduler.api.action_bodies:CancelBody",
)
async def cancel_execution(app: "App", request: Request) -> Reply:
    """200 once it has ended, 202 while a step of it is being stopped; `Prefer: wait=N` waits."""
    wait = _wait_seconds(request.headers)
    reply = await app.executions.cancel(
        request.caller, request.principal, request.path["execution_id"], request.body, wait
    )
    headers = {"Preference-Applied": f"wait={wait}"} if wait else {}
    if reply.finished:
        return Reply(reply.body, 200, headers)
    return Reply(reply.body, 202, headers | {"Retry-After": str(POLL_SECONDS)})


def _wait_seconds(headers: Mapping[str, str]) -> int:
    match = _WAIT.search(headers.get("prefer", ""))
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0
