"""`/api/v2/jobs`: stored jobs."""

from typing import Any
from urllib.parse import urlencode, urlsplit, urlunsplit

from functions.http import Body, Reply, Request, endpoint, new_blueprint
from scheduler.api.job_list import QUERY
from scheduler.api.job_wire import JobBody
from scheduler.api.jobs import JobReply
from scheduler.app import App
from scheduler.security.audit import Caller
from scheduler.security.principals import Principal, Role

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/jobs",
    role=Role.VIEWER,
    summary="Lists jobs",
    query=QUERY,
)
async def list_jobs(app: App, request: Request) -> Reply:
    """A page of jobs."""
    body, continuation = await app.job_list.page(request.query)
    if continuation is not None:
        query = urlencode({**request.query, "continuation": continuation})
        body["next_link"] = urlunsplit(urlsplit(request.url)._replace(query=query))
    return Reply(body)


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs",
    role=Role.AUTHOR,
    summary="Creates a job",
    body=Body.REQUIRED,
    status=201,
    model=JobBody,
)
async def create_job(app: App, request: Request) -> Reply:
    """Stores a new job."""
    return _reply(await app.jobs.create(request.caller, request.principal, request.body))


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/jobs/{job_id}",
    role=Role.VIEWER,
    summary="Reads a job",
)
async def read_job(app: App, request: Request) -> Reply:
    """A job, its version and its next runs."""
    return _reply(await app.jobs.read(request.path["job_id"]))


@endpoint(
    blueprint,
    method="PUT",
    route="api/v2/jobs/{job_id}",
    role=Role.AUTHOR,
    summary="Replaces a job, or creates it",
    body=Body.REQUIRED,
    model=JobBody,
)
async def replace_job(app: App, request: Request) -> Reply:
    """Replaces a job."""
    return _reply(await app.jobs.replace(*_edit(request)))


@endpoint(
    blueprint,
    method="PATCH",
    route="api/v2/jobs/{job_id}",
    role=Role.AUTHOR,
    summary="Changes a job by a JSON merge patch",
    body=Body.REQUIRED,
)
async def patch_job(app: App, request: Request) -> Reply:
    """Changes fields of a job."""
    return _reply(await app.jobs.patch(*_edit(request)))


@endpoint(
    blueprint,
    method="DELETE",
    route="api/v2/jobs/{job_id}",
    role=Role.AUTHOR,
    summary="Deletes a job; its unfinished runs go on",
)
async def delete_job(app: App, request: Request) -> Reply:
    """Deletes a job."""
    body = await app.jobs.delete(
        request.caller,
        request.principal,
        request.path["job_id"],
        request.headers.get("if-match"),
    )
    return Reply(body)


def _edit(request: Request) -> tuple[Caller, Principal, str, dict[str, Any], str | None]:
    return (
        request.caller,
        request.principal,
        request.path["job_id"],
        request.body,
        request.headers.get("if-match"),
    )


def _reply(reply: JobReply) -> Reply:
    headers = {"ETag": reply.etag}
    if reply.created:
        headers["Location"] = f"/api/v2/jobs/{reply.body['job_id']}"
    return Reply(reply.body, 201 if reply.created else 200, headers)
