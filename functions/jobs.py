"""`/api/v2/jobs`: stored jobs."""

from typing import TYPE_CHECKING, Any

from functions.http import REPLAYED, Body, Reply, Request, endpoint, new_blueprint, paged
from scheduler.security.principals import Caller, Principal, Role

if TYPE_CHECKING:
    from scheduler.api.job_changes import JobReply
    from scheduler.app import App

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/jobs",
    role=Role.VIEWER,
    summary="Lists jobs",
    query=("limit", "continuation", "enabled_only", "timezone", "type", "name"),
)
async def list_jobs(app: "App", request: Request) -> Reply:
    """A page of jobs."""
    return paged(request, *await app.job_list.page(request.query))


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs",
    role=Role.AUTHOR,
    summary="Creates a job",
    body=Body.REQUIRED,
    status=201,
    model="scheduler.api.job_wire:JobBody",
    idempotent=True,
)
async def create_job(app: "App", request: Request) -> Reply:
    """Stores a new job."""
    reply = await app.jobs.create(request.caller, request.principal, request.body, request.once)
    return _reply(reply)


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/jobs/{job_id}",
    role=Role.VIEWER,
    summary="Reads a job",
)
async def read_job(app: "App", request: Request) -> Reply:
    """A job, its version and its next runs; 304 to a reader who has this version."""
    from scheduler.api.preconditions import is_named

    reply = await app.jobs.read(request.path["job_id"])
    if is_named(request.headers.get("if-none-match"), reply.etag):
        return Reply(status=304, headers={"ETag": reply.etag})
    return _reply(reply)


@endpoint(
    blueprint,
    method="PUT",
    route="api/v2/jobs/{job_id}",
    role=Role.AUTHOR,
    summary="Replaces a job, or creates it",
    body=Body.REQUIRED,
    model="scheduler.api.job_wire:JobBody",
)
async def replace_job(app: "App", request: Request) -> Reply:
    """Replaces a job."""
    if_none_match = request.headers.get("if-none-match")
    return _reply(await app.jobs.replace(*_edit(request), if_none_match))


@endpoint(
    blueprint,
    method="PATCH",
    route="api/v2/jobs/{job_id}",
    role=Role.AUTHOR,
    summary="Changes a job by a JSON merge patch",
    body=Body.REQUIRED,
)
async def patch_job(app: "App", request: Request) -> Reply:
    """Changes fields of a job."""
    return _reply(await app.jobs.patch(*_edit(request)))


@endpoint(
    blueprint,
    method="DELETE",
    route="api/v2/jobs/{job_id}",
    role=Role.AUTHOR,
    summary="Deletes a job; its unfinished runs go on, unless cancel is true",
    query=("cancel",),
)
async def delete_job(app: "App", request: Request) -> Reply:
    """Deletes a job."""
    body = await app.jobs.delete(
        request.caller,
        request.principal,
        request.path["job_id"],
        request.headers.get("if-match"),
        request.query,
    )
    return Reply(body)


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs/{job_id}/pause",
    role=Role.OPERATOR,
    summary="Keeps a job's schedule from starting it",
    body=Body.OPTIONAL,
    model="scheduler.api.action_bodies:PauseBody",
)
async def pause_job(app: "App", request: Request) -> Reply:
    """Pauses a job; the note says why."""
    return _reply(await app.jobs.pause(*_edit(request)))


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs/{job_id}/resume",
    role=Role.OPERATOR,
    summary="Lets a paused job's schedule start it again, counting from now",
    body=Body.OPTIONAL,
    model="scheduler.api.action_bodies:ResumeBody",
)
async def resume_job(app: "App", request: Request) -> Reply:
    """Resumes a job."""
    return _reply(await app.jobs.resume(*_edit(request)))


def _edit(request: Request) -> tuple[Caller, Principal, str, dict[str, Any], str | None]:
    return (
        request.caller,
        request.principal,
        request.path["job_id"],
        request.body,
        request.headers.get("if-match"),
    )


def _reply(reply: "JobReply") -> Reply:
    headers = {"ETag": reply.etag}
    if reply.created:
        headers["Location"] = f"/api/v2/jobs/{reply.body['job_id']}"
    if reply.replayed:
        headers |= REPLAYED
    return Reply(reply.body, 201 if reply.created else 200, headers)
