"""Blob containers for what is too large for a row, made at their first use."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from http import HTTPStatus
from io import BytesIO
from typing import TYPE_CHECKING, Any

from azure.core import MatchConditions
from azure.core.exceptions import (
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from scheduler.storage.failures import storage_failures

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties
    from azure.storage.blob.aio import ContainerClient


_WRITTEN = "written"


@dataclass(frozen=True, slots=True)
class Blob:
    """A blob in a list: its name, when it was last written, and its version.

    That is told by the clock of the writer, or where that did not tell it, of the service.
    """

    name: str
    written: datetime
    etag: str


class Container:
    """One container; its client is made by `connect` when it is first needed."""

    def __init__(self, name: str, connect: "Callable[[], ContainerClient]") -> None:
        self._name = name
        self._connect = connect

    @cached_property
    def _client(self) -> "ContainerClient":
        return self._connect()

    async def put(self, name: str, content: bytes, *, written: datetime | None = None) -> None:
        """Writes a blob, over what may be there; `written` is what lists tell of it.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"write blob {self._name}/{name}"):
            try:
                await self._upload(name, content, written)
            except ResourceNotFoundError:
                await self._create()
                await self._upload(name, content, written)

    async def _upload(self, name: str, content: bytes, written: datetime | None) -> None:
        await self._client.upload_blob(
            name,
            BytesIO(content),
            length=len(content),
            overwrite=True,
            metadata=None if written is None else {_WRITTEN: written.isoformat()},
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

    async def page(self, token: str, prefix: str) -> tuple[list[Blob], str | None]:
        """A page of the blobs that begin so, by name, and the token of the next one; None at the
        end. With a token that the service does not know it begins anew.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        found = self._client.list_blobs(name_starts_with=prefix or None, include=["metadata"])
        pages = found.by_page(token or None)
        with storage_failures(f"list blobs {self._name}"):
            try:
                blobs = [_blob(blob) async for blob in await anext(pages)]
            except (ResourceNotFoundError, StopAsyncIteration):
                return [], None
            except HttpResponseError as error:
                if token and error.status_code == HTTPStatus.BAD_REQUEST:
                    return await self.page("", prefix)
                raise
        following: str | None = getattr(pages, "continuation_token", None)
        return blobs, following or None

    async def delete(self, name: str, *, etag: str | None = None) -> bool:
        """Removes a blob, of this version if one is given; False: there is none.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        unchanged: dict[str, Any] = {"etag": etag, "match_condition": MatchConditions.IfNotModified}
        with storage_failures(f"delete blob {self._name}/{name}"):
            try:
                await self._client.delete_blob(name, **(unchanged if etag else {}))
            except (ResourceNotFoundError, ResourceModifiedError):
                return False
        return True


def _blob(found: "BlobProperties") -> Blob:
    told = (found.metadata or {}).get(_WRITTEN)
    written = datetime.fromisoformat(told) if told else found.last_modified
    return Blob(found.name, written, found.etag)
