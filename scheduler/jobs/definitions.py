"""Job definitions as encrypted blobs, named by the hash of their text."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime

from scheduler.clock import Clock
from scheduler.errors import DefinitionLost
from scheduler.jobs.model import Job
from scheduler.security.encryption import Cipher
from scheduler.storage.blobs import Container

_CACHED = 500
_REMEDY = "store the job again with PUT"


@dataclass(frozen=True, slots=True)
class StoredDefinition:
    """A definition in a list of all: whose, its hash, when it was last written, and its version."""

    job_id: str
    name: str
    written: datetime
    etag: str

    @property
    def path(self) -> str:
        """The name of its blob; a list of them is in this order."""
        return f"{self.job_id}/{self.name}"


class Definitions:
    """Writes a definition once a change; reads are cached, for a hash never changes its content."""

    def __init__(self, blobs: Container, cipher: Cipher, clock: Clock) -> None:
        self._blobs = blobs
        self._cipher = cipher
        self._clock = clock
        self._cache: OrderedDict[tuple[str, str], Job] = OrderedDict()

    async def put(self, job: Job) -> str:
        """Stores a definition; returns its hash.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        name = job.hash
        content = self._cipher.encrypt(job.to_json())
        await self._blobs.put(f"{job.id}/{name}", content, written=self._clock.now())
        self._remember(job, name)
        return name

    async def load(self, job_id: str, name: str) -> Job:
        """Reads the definition with this hash.

        Raises:
            DefinitionLost: storage has not got it, or it cannot be read.
            StorageUnavailable: storage cannot be reached.
        """
        cached = self._cache.get((job_id, name))
        if cached is not None:
            self._cache.move_to_end((job_id, name))
            return cached
        content = await self._blobs.get(f"{job_id}/{name}")
        if content is None:
            raise DefinitionLost(f"the definition {name} of job {job_id} is gone: {_REMEDY}")
        plain = self._cipher.decrypt(content)
        try:
            job = Job.from_json(plain)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DefinitionLost(
                f"the definition {name} of job {job_id} cannot be read ({error!r}): {_REMEDY}"
            ) from error
        self._remember(job, name)
        return job

    async def page(
        self, token: str, job_id: str | None = None, name: str = ""
    ) -> tuple[list[StoredDefinition], str | None]:
        """A page of all definitions, or of a job's, and the token of the next one; None at the end.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        prefix = "" if job_id is None else f"{job_id}/{name}"
        blobs, following = await self._blobs.page(token, prefix)
        found = []
        for blob in blobs:
            job_id, _, name = blob.name.partition("/")
            found.append(StoredDefinition(job_id, name, blob.written, blob.etag))
        return found, following

    async def delete_unchanged(self, stored: StoredDefinition) -> bool:
        """Removes a definition, unless it has been written again since; whether it is removed.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        self._cache.pop((stored.job_id, stored.name), None)
        return await self._blobs.delete(stored.path, etag=stored.etag)

    def _remember(self, job: Job, name: str) -> None:
        self._cache[job.id, name] = job
        self._cache.move_to_end((job.id, name))
        if len(self._cache) > _CACHED:
            self._cache.popitem(last=False)
