"""Tables: rows, key-range queries, and entity-group transactions that know their own writes."""

import secrets
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from itertools import batched
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError, ResourceNotFoundError
from azure.data.tables import EdmType, EntityProperty, UpdateMode
from azure.data.tables.aio import TableClient

from scheduler.errors import ConflictingWrite, RowTooLarge, StorageUnavailable
from scheduler.storage.failures import error_code, storage_failures

type Value = str | int | float | bool | datetime | None

MAX_CHANGES = 100
MAX_PROPERTY_CHARACTERS = 32_000
"""A little under the service's 32,768 UTF-16 units."""
_MAX_ROW_BYTES = 1_000_000
_MAX_TRANSACTION_BYTES = 3_900_000
_INT32 = 2**31
# The SDK repeats no POST whose connection failed; ours may be repeated, for their `op` tells.
_REPEATED = {"retry_on_methods": frozenset({"POST"})}


@dataclass(frozen=True, slots=True)
class Row:
    """A stored row. `values` has no keys and no system properties; instants are aware, in UTC."""

    partition: str
    key: str
    values: Mapping[str, Value]
    etag: str


@dataclass(frozen=True, slots=True)
class Insert:
    """Writes a row that must not exist."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Upsert:
    """Merges into a row, or makes it; without a condition."""

    key: str
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class Replace:
    """Replaces a row that must be of this version; `etag=None`: of any version."""

    key: str
    values: Mapping[str, Value]
    etag: str | None


@dataclass(frozen=True, slots=True)
class Merge:
    """Merges into a row that must be of this version; `etag=None`: of any version."""

    key: str
    values: Mapping[str, Value]
    etag: str | None


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes a row that must be of this version; `etag=None`: of any version."""

    key: str
    etag: str | None


type Change = Insert | Upsert | Replace | Merge | Delete


@dataclass(frozen=True, slots=True)
class Page:
    """What one query read, and the token by which the next goes on; None at the end."""

    rows: list[Row]
    following: str | None


class UnknownToken(Exception):
    """The service has not given out the token that a query was to go on by."""


class Table:
    """One table, made at its first use."""

    def __init__(self, client: TableClient) -> None:
        self._client = client
        self._name: str = client.table_name

    async def get(self, partition: str, key: str, select: Sequence[str] = ()) -> Row | None:
        """Reads one row, or these columns of it, or None when there is none.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        with storage_failures(f"get {self._name} {partition} {key}"):
            try:
                entity = await self._client.get_entity(
                    partition, key, select=["PartitionKey", "RowKey", *select] if select else None
                )
            except ResourceNotFoundError:
                return None
        return _row(entity)

    async def query(
        self,
        partition: str,
        start: str,
        end: str,
        *,
        select: Sequence[str] = (),
        limit: int | None = None,
    ) -> AsyncGenerator[Row]:
        """Reads the rows with `start <= key < end`, in key order, page by page.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        columns = ["PartitionKey", "RowKey", *select] if select else None
        entities = self._client.query_entities(
            "PartitionKey eq @partition and RowKey ge @start and RowKey lt @end",
            parameters={"partition": partition, "start": start, "end": end},
            select=columns,
            results_per_page=min(limit or 1000, 1000),
        )
        count = 0
        with storage_failures(f"query {self._name} {partition} {start}"):
            try:
                async for entity in entities:
                    yield _row(entity)
                    count += 1
                    if count == limit:
                        return
            except ResourceNotFoundError:
                return

    async def page(
        self,
        partition: str,
        start: str,
        end: str,
        *,
        limit: int,
        select: Sequence[str] = (),
        where: Mapping[str, Sequence[str]] | None = None,
        token: str = "",
    ) -> Page:
        """One page of storage of the rows with `start <= key < end`, in key order.

        `token` is what an earlier page of the same query named as the following one.

        With `where`, only rows in which each named column has one of its values: the service reads
        the others, too, and may answer a page with few rows of many.

        Raises:
            UnknownToken: the service does not know it.
            StorageUnavailable: storage cannot be reached.
        """
        text = "PartitionKey eq @partition and RowKey ge @start and RowKey lt @end"
        parameters = {"partition": partition, "start": start, "end": end}
        for column, values in (where or {}).items():
            names = [f"{column}{number}" for number in range(len(values))]
            parameters |= dict(zip(names, values, strict=True))
            # The SDK finds a parameter's name between blanks only.
            text += " and ( " + " or ".join(f"{column} eq @{name}" for name in names) + " )"
        pages = self._client.query_entities(
            text,
            parameters=parameters,
            select=["PartitionKey", "RowKey", *select] if select else None,
            results_per_page=limit,
        ).by_page(_token_of(token))
        with storage_failures(f"page {self._name} {partition} {start}"):
            try:
                rows = [_row(entity) async for entity in await anext(pages)]
            except (ResourceNotFoundError, StopAsyncIteration):
                return Page([], None)
            except HttpResponseError as error:
                if token and error.status_code == HTTPStatus.BAD_REQUEST:
                    raise UnknownToken from error
                raise
        return Page(rows, _text_of(getattr(pages, "continuation_token", None)))

    async def first_partition(self) -> str | None:
        """The least partition key of the table; None when the table is empty.

        Raises:
            StorageUnavailable: storage cannot be reached.
        """
        columns = ["PartitionKey", "RowKey"]
        pages = self._client.list_entities(select=columns, results_per_page=1).by_page()
        with storage_failures(f"look for the first partition of {self._name}"):
            try:
                async for page in pages:  # after a purge the service may answer empty ones first
                    async for entity in page:
                        return str(entity["PartitionKey"])
            except ResourceNotFoundError:
                return None
        return None

    async def commit(self, partition: str, changes: Sequence[Change]) -> list[str]:
        """Makes all the changes, or none, in one transaction; returns the rows' new ETags.

        All written rows are stamped with a random `op`. By that of the first, the main one, a write
        whose reply was lost is known as our own, unless another has changed that row since. An
        ETag is "" where it is not known: of a deleted row, and of all but the main row after such
        a lost reply.

        Raises:
            ConflictingWrite: a condition does not hold; `index` says of which change.
            RowTooLarge: a row, or the transaction, is over the service's limits.
            StorageUnavailable: storage cannot be reached; the write may have happened.
        """
        if not 0 < len(changes) <= MAX_CHANGES:
            raise ValueError(f"a transaction has 1 to {MAX_CHANGES} changes, not {len(changes)}")
        op = secrets.token_hex(8)
        operations = [_operation(partition, change, op) for change in changes]
        _check_size(operations)
        try:
            return await self._submit(operations, f"write {self._name} {partition}")
        except (ConflictingWrite, StorageUnavailable):
            etag = await self._own_write(partition, changes[0], op)
            if etag is None:
                raise
            return [etag, *[""] * (len(changes) - 1)]

    async def remove(self, partition: str, keys: Iterable[str]) -> None:
        """Removes rows, a hundred in a transaction; one that is not there is no error.

        Raises:
            StorageUnavailable: storage cannot be reached; some may be removed.
        """
        for some in batched(dict.fromkeys(keys), MAX_CHANGES, strict=False):
            left = [Delete(key, None) for key in some]
            while left:
                try:
                    await self.commit(partition, left)
                except ConflictingWrite as error:
                    del left[error.index]
                else:
                    break

    async def _submit(self, operations: list[Any], what: str) -> list[str]:
        with storage_failures(what):
            try:
                replies = await self._client.submit_transaction(operations, **_REPEATED)
            except HttpResponseError as error:
                if error_code(error) != "TableNotFound":
                    raise
                await self._create()
                replies = await self._client.submit_transaction(operations, **_REPEATED)
        return [str(reply.get("etag") or "") for reply in replies]

    async def _own_write(self, partition: str, change: Change, op: str) -> str | None:
        if isinstance(change, Delete):
            return None
        row = await self.get(partition, change.key)
        return row.etag if row is not None and row.values.get("op") == op else None

    async def _create(self) -> None:
        try:
            await self._client.create_table()
        except ResourceExistsError:
            return

    async def close(self) -> None:
        """Closes the client's connections."""
        await self._client.close()


def _operation(partition: str, change: Change, op: str) -> tuple[Any, ...]:
    entity: dict[str, Any] = {"PartitionKey": partition, "RowKey": change.key}
    if isinstance(change, Delete):
        return ("delete", entity, _condition(change.etag))
    entity |= {name: _stored(value) for name, value in change.values.items() if value is not None}
    entity["op"] = op
    match change:
        case Insert():
            return ("create", entity)
        case Upsert():
            return ("upsert", entity, {"mode": UpdateMode.MERGE})
        case Replace(etag=etag):
            return ("update", entity, {"mode": UpdateMode.REPLACE, **_condition(etag)})
        case Merge(etag=etag):
            return ("update", entity, {"mode": UpdateMode.MERGE, **_condition(etag)})


def _condition(etag: str | None) -> dict[str, Any]:
    if etag is None:
        return {}
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _stored(value: str | int | float | bool | datetime) -> object:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= _INT32:
        return EntityProperty(value, EdmType.INT64)
    return value


def _token_of(text: str) -> Any:  # noqa: ANN401
    """The service's own form of a page's token."""
    partition, _, row = text.partition(" ")
    return {"PartitionKey": partition, "RowKey": row or None} if text else None


def _text_of(token: Mapping[str, str] | None) -> str | None:
    return f"{token['PartitionKey']} {token.get('RowKey') or ''}" if token else None


def _row(entity: Mapping[str, Any]) -> Row:
    values = {
        name: value.value if isinstance(value, EntityProperty) else value
        for name, value in entity.items()
        if name not in ("PartitionKey", "RowKey")
    }
    etag = str(getattr(entity, "metadata", {}).get("etag") or "")
    return Row(str(entity["PartitionKey"]), str(entity["RowKey"]), values, etag)


def _check_size(operations: Sequence[tuple[Any, ...]]) -> None:
    total = 0
    for operation in operations:
        entity = operation[1]
        texts = [value for value in entity.values() if isinstance(value, str)]
        if any(len(text.encode("utf-16-le")) > 2 * MAX_PROPERTY_CHARACTERS for text in texts):
            raise RowTooLarge(f"a property of {entity['RowKey']} is over the limit")
        size = sum(len(text.encode("utf-16-le")) for text in texts) + 64 * len(entity)
        if size > _MAX_ROW_BYTES:
            raise RowTooLarge(f"the row {entity['RowKey']} is over the limit")
        total += size
    if total > _MAX_TRANSACTION_BYTES:
        raise RowTooLarge("a transaction is over the limit")
