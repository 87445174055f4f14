"""Executions: run a job now, and read how a run went."""

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from functions.http import REPLAYED, Body, Reply, Request, endpoint, new_blueprint, paged
from scheduler.security.principals import Role

if TYPE_CHECKING:
    from scheduler.api.execution_reader import ExecutionReply
    from scheduler.app import App

MAX_WAIT_SECONDS = 100
POLL_SECONDS = 1
_FILTERS = ("limit", "continuation", "status", "timezone", "trigger", "from", "to")
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
    return await _start(request, app.executions.execute)


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
    return await _start(request, app.executions.run, request.path["job_id"])


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


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/executions",
    role=Role.VIEWER,
    summary="Lists executions",
    query=(*_FILTERS, "job_id"),
)
async def list_executions(app: "App", request: Request) -> Reply:
    """A page of executions: the unfinished ones, then those that ended, the last first."""
    return paged(request, *await app.execution_list.page(request.query))


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/jobs/{job_id}/history",
    role=Role.VIEWER,
    summary="Lists the executions of a job",
    query=_FILTERS,
)
async def read_history(app: "App", request: Request) -> Reply:
    """A page of a job's executions, of a deleted job too: those due last come first."""
    page = await app.execution_list.history(request.query, request.path["job_id"])
    return paged(request, *page)


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/executions/{execution_id}",
    role=Role.VIEWER,
    summary="Reads an execution and its steps",
)
async def read_execution(app: "App", request: Request) -> Reply:
    """An execution; while it is unfinished, `Retry-After` says when to look again."""
    reply = await app.execution_reader.read(request.path["execution_id"])
    return Reply(reply.body, 200, {} if reply.finished else {"Retry-After": str(POLL_SECONDS)})


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/executions/{execution_id}/steps/{step_id}/output",
    role=Role.VIEWER,
    summary="Reads the whole output of a step, or a part of it",
)
async def read_step_output(app: "App", request: Request) -> Reply:
    """The output itself: text as it is, all else as JSON; a `Range` of bytes is followed."""
    output = await app.step_outputs.read(
        request.path["execution_id"], request.path["step_id"], request.headers.get("range")
    )
    kind = "text/plain" if output.is_text else "application/json"
    headers = {
        "Content-Type": f"{kind}; charset=utf-8",
        "Content-Disposition": f'attachment; filename="{output.file_name}"',
        "Accept-Ranges": "bytes",
    }
    if output.is_whole:
        return Reply(headers=headers, content=output.content)
    last = output.start + len(output.content) - 1
    headers["Content-Range"] = f"bytes {output.start}-{last}/{output.size}"
    return Reply(status=206, headers=headers, content=output.content)


@endpoint(
    blueprint,
    method="DELETE",
    route="api/v2/executions/{execution_id}",
    role=Role.ADMIN,
    summary="Erases an execution that has ended, with its outputs",
)
async def erase_execution(app: "App", request: Request) -> Reply:
    """Erases an execution for good."""
    return Reply(await app.executions.erase(request.caller, request.path["execution_id"]))


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/executions/{execution_id}/retry",
    role=Role.OPERATOR,
    summary="Starts a new execution that goes on from where one failed",
    body=Body.OPTIONAL,
    status=202,
    model="scheduler.api.action_bodies:RetryBody",
    idempotent=True,
)
async def retry_execution(app: "App", request: Request) -> Reply:
    """The steps that succeeded are not done again; `Prefer: wait=N` as for execute."""
    return await _start(request, app.executions.retry, request.path["execution_id"])


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


async def _start(
    request: Request, start: "Callable[..., Awaitable[ExecutionReply]]", *named: str
) -> Reply:
    """Starts an execution of what the path has named, and waits as the caller prefers."""
    wait = _wait_seconds(request.headers)
    reply = await start(request.caller, request.principal, *named, request.body, wait, request.once)
    return _started(request, reply, wait)


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


def _wait_seconds(headers: Mapping[str, str]) -> int:
    match = _WAIT.search(headers.get("prefer", ""))
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0
