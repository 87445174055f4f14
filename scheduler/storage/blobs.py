"""Blob containers for what is too large for a row, made at their first use."""

from collections.abc import Callable
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING

from azure.core.exceptions import ResourceExistsError, ResourceNotFoundError

from scheduler.storage.failures import storage_failures

if TYPE_CHECKING:
    from azure.storage.blob.aio import ContainerClient


class Container:
    """One container; its client is made by `connect` when it is first needed."""

    def __init__(self, name: str, connect: "Callable[[], ContainerClient]") -> None:
        self._name = name
        self._connect = connect

    @cached_property
    def _client(self) -> "ContainerClient":
        return self._connect()

    async def put(self, name: str, content: bytes) -> None:
        """Writes a blob, over what may be there.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"write blob {self._name}/{name}"):
            try:
                await self._client.upload_blob(
                    name, BytesIO(content), length=len(content), overwrite=True
                )
            except ResourceNotFoundError:
                await self._create()
                await self._client.upload_blob(
                    name, BytesIO(content), length=len(content), overwrite=True
                )

    async def _create(self) -> None:
        try:
            await self._client.create_container()
        except ResourceExistsError:
            return

    async def get(
        self, name: str, *, offset: int | None = None, length: int | None = None
    ) -> bytes | None:
        """Reads a blob, or a part of it, or None when there is none; offset and length in bytes.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"read blob {self._name}/{name}"):
            try:
                download = await self._client.download_blob(name, offset=offset, length=length)
                return bytes(await download.readall())
            except ResourceNotFoundError:
                return None

    async def size(self, name: str) -> int | None:
        """The size of a blob in bytes, or None when there is none.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"look at blob {self._name}/{name}"):
            try:
                properties = await self._client.get_blob_client(name).get_blob_properties()
            except ResourceNotFoundError:
                return None
        return int(properties.size)

    async def names(self, prefix: str) -> list[str]:
        """The names of all blobs that begin so.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"list blobs {self._name}/{prefix}"):
            try:
                return [one async for one in self._client.list_blob_names(name_starts_with=prefix)]
            except ResourceNotFoundError:
                return []

    async def delete(self, name: str) -> None:
        """Removes a blob; one that is not there is no error.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"delete blob {self._name}/{name}"):
            try:
                await self._client.delete_blob(name)
            except ResourceNotFoundError:
                return
