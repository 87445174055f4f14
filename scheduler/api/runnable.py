"""A stored job that somebody wants to run now: may they, and may it?"""

from scheduler.errors import Conflict
from scheduler.jobs.catalog import Catalog
from scheduler.jobs.definitions import Definitions
from scheduler.jobs.model import Job
from scheduler.security.principals import Principal


class Runnable:
    """Loads stored jobs for runs on request."""

    def __init__(self, catalog: Catalog, definitions: Definitions) -> None:
        self._catalog = catalog
        self._definitions = definitions

    async def load(self, principal: Principal, job_id: str, *, force: bool) -> tuple[Job, str]:
        """A job, and the hash of its definition; a disabled one only with `force`.

        Raises:
            NotFound: `job_not_found`.
            Conflict: `job_disabled`.
            Forbidden: the caller has no right to one of the step types.
            StorageUnavailable: storage cannot be reached.
        """
        row = await self._catalog.require(job_id)
        principal.require_step_types(row.step_types)
        if not row.enabled and not force:
            raise Conflict(
                f"the job {row.job_id!r} is disabled: resume it, or send force: true",
                code="job_disabled",
            )
        return await self._definitions.load(row.job_id, row.definition), row.definition
