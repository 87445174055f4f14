"""The storage account: every table, queue and container of this scheduler, named by its prefix."""

import base64
import re
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies

from azure.core.pipeline.transport import AsyncHttpTransport
from azure.data.tables.aio import TableServiceClient
from azure.storage.queue.aio import QueueServiceClient

from scheduler.errors import Misconfigured
from scheduler.settings import Settings
from scheduler.storage.blobs import Container
from scheduler.storage.queues import Queues
from scheduler.storage.tables import Table

if TYPE_CHECKING:
    from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential
    from azure.storage.blob.aio import BlobServiceClient

# The SDK's own defaults wait 15 s before the first retry.
_RETRIES = {"initial_backoff": 1, "increment_base": 1, "random_jitter_range": 1}
_BLOCK_BYTES = 1024 * 1024
_ACCOUNT_KEY = re.compile(r"(?:^|;)\s*AccountKey=([^;]*)", re.IGNORECASE)

type TransportFactory = Callable[[], AsyncHttpTransport[Any, Any]]


class Storage:
    """All that is stored. Nothing is contacted before the first call; what is missing is made then.

    `transport` makes the HTTP transport of each of the three services; tests hand in one that
    counts, delays or refuses requests.
    """

    def __init__(self, settings: Settings, *, transport: TransportFactory | None = None) -> None:
        self._settings = settings
        self._transport = transport
        self._credential: DefaultAzureCredential | ManagedIdentityCredential | None = None
        self._tables = self._service(
            TableServiceClient,
            settings.storage_table_uri,
            retry_total=settings.storage_retries,
            retry_backoff_factor=0.4,
        )
        self._queues = self._service(
            QueueServiceClient,
            settings.storage_queue_uri,
            retry_total=settings.storage_retries,
            **_RETRIES,
        )
        self.jobs = self._table("Jobs")
        self.executions = self._table("Executions")
        self.zones = self._table("Zones")
        self.days = self._table("Days")
        self.stats = self._table("Stats")
        self.keys = self._table("Keys")
        self.audit = self._table("Audit")
        self.control = self._table("Control")
        self.queues = Queues(self._queues)
        self.definitions = self._container("definitions")
        self.outputs = self._container("outputs")

    @cached_property
    def _blobs(self) -> "BlobServiceClient":
        # Imported at its first use: it costs a cold start more than all the rest.
        from azure.storage.blob.aio import BlobServiceClient

        client: BlobServiceClient = self._service(
            BlobServiceClient,
            self._settings.storage_blob_uri,
            retry_total=self._settings.storage_retries,
            # aiohttp holds up the event loop for a larger body.
            max_single_put_size=_BLOCK_BYTES,
            max_block_size=_BLOCK_BYTES,
            **_RETRIES,
        )
        return client

    def _service(self, client: Any, uri: str | None, **options: Any) -> Any:  # noqa: ANN401
        options |= {
            "connection_timeout": self._settings.storage_timeout_seconds,
            "read_timeout": self._settings.storage_timeout_seconds,
            # Else the transport looks for a proxy, and for a .netrc file, at each request anew.
            "use_env_settings": bool(getproxies().keys() - {"no"}),
        }
        if self._transport is not None:
            options["transport"] = self._transport()
        if self._settings.storage_connection_string:
            text = self._settings.storage_connection_string
            try:
                _check_key(text)
                return client.from_connection_string(text, **options)
            except ValueError:
                raise Misconfigured(
                    "the app setting AzureWebJobsStorage is no connection string of a storage"
                    " account: copy it whole from the account's access keys"
                ) from None
        if not uri:
            raise Misconfigured(
                "the app setting AzureWebJobsStorage is missing: give a connection string, or"
                " AzureWebJobsStorage__tableServiceUri, __queueServiceUri and __blobServiceUri"
            )
        return client(uri, credential=self._identity(), **options)

    def _identity(self) -> "DefaultAzureCredential | ManagedIdentityCredential":
        from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

        if self._credential is None:
            client_id = self._settings.storage_client_id
            self._credential = (
                ManagedIdentityCredential(client_id=client_id)
                if client_id
                else DefaultAzureCredential()
            )
        return self._credential

    def _table(self, name: str) -> Table:
        return Table(self._tables.get_table_client(f"{self._settings.name}{name}"))

    def _container(self, name: str) -> Container:
        full_name = f"{self._settings.name}-{name}"
        return Container(full_name, lambda: self._blobs.get_container_client(full_name))

    async def close(self) -> None:
        """Closes all connections."""
        await self._tables.close()
        await self._queues.close()
        if "_blobs" in self.__dict__:
            await self._blobs.close()
        if self._credential is not None:
            await self._credential.close()


def _check_key(connection_string: str) -> None:
    """Raises ValueError for an account key that is no base64: the SDK would, at each request."""
    match = _ACCOUNT_KEY.search(connection_string)
    if match is not None:
        base64.b64decode(match[1], validate=True)
