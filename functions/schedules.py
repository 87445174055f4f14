"""`/api/v2/jobs/schedule`: store a job with the time of its run."""

from functions.http import Body, Reply, Request, endpoint, new_blueprint
from scheduler.app import App
from scheduler.security.principals import Role

blueprint = new_blueprint()


@endpoint(
    blueprint,
    method="POST",
    route="api/v2/jobs/schedule",
    role=Role.AUTHOR,
    summary="Stores a job that runs once at a time, or by its own schedule",
    body=Body.REQUIRED,
    status=201,
)
async def schedule_job(app: App, request: Request) -> Reply:
    """Stores a job and tells when it runs."""
    reply = await app.schedules.schedule(request.caller, request.principal, request.body)
    headers = {"ETag": reply.etag, "Location": f"/api/v2/jobs/{reply.body['job_id']}"}
    return Reply(reply.body, 201, headers)
