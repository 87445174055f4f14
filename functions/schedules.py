"""Schedules and zones: what one means, whether a job would do, a job stored with its time."""

from typing import TYPE_CHECKING

from functions.http import REPLAYED, Body, Reply, Request, endpoint, new_blueprint
from scheduler.security.principals import Role

if TYPE_CHECKING:
    from scheduler.app import App

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs/schedule",
    role=Role.AUTHOR,
    summary="Stores a job that runs once at a time, or by its own schedule",
    body=Body.REQUIRED,
    status=201,
    idempotent=True,
)
async def schedule_job(app: "App", request: Request) -> Reply:
    """Stores a job and tells when it runs."""
    reply = await app.schedules.schedule(
        request.caller, request.principal, request.body, request.once
    )
    headers = {"ETag": reply.etag, "Location": f"/api/v2/jobs/{reply.body['job_id']}"}
    if reply.replayed:
        headers |= REPLAYED
    return Reply(reply.body, 201, headers)


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs/validate",
    role=Role.VIEWER,
    summary="Checks a job without storing it",
    body=Body.REQUIRED,
    model="scheduler.api.job_wire:JobBody",
)
async def validate_job(app: "App", request: Request) -> Reply:
    """Every fault of a job, its warnings and next runs."""
    return Reply(await app.validation.check(request.principal, request.body))


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/schedules/preview",
    role=Role.VIEWER,
    summary="Tells the next runs of a schedule, and what it means",
    body=Body.REQUIRED,
    model="scheduler.api.previews:PreviewBody",
)
async def preview_schedule(app: "App", request: Request) -> Reply:
    """The next runs of a schedule that no job has yet."""
    return Reply(app.previews.preview(request.body))


@endpoint(
    blueprint,
    method="GET",
    route="api/v2/timezones",
    role=Role.VIEWER,
    summary="Lists the time zones with their offsets and next clock changes",
    query=("region", "search"),
)
async def list_timezones(app: "App", request: Request) -> Reply:
    """The zones that a job may name, by region."""
    return Reply(await app.timezones.list(request.query))
