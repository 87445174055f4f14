"""What an author writes in a `sql` step."""

import re
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator

from steps.contract import StepConfig
from steps.sql.lexer import scan
from steps.sql.statements import Parameters, Scalar, check, own_transaction

IsolationLevel = Literal["read_uncommitted", "read_committed", "repeatable_read", "serializable"]
_UNSENDABLE = re.compile("[\0\ud800-\udfff]")
_INTEGERS = range(-(2**63), 2**63)


class SqlConfig(StepConfig):
    """One query, the connection that it runs on, and the values bound to it."""

    TEMPLATED: ClassVar[frozenset[str]] = frozenset({"parameters"})

    query: str = Field(
        min_length=1, title="Query", description="One or more SQL statements, separated by `;`."
    )
    connection_name: str = Field(
        "default", min_length=1, title="Connection", description="The name of a connection."
    )
    parameters: list[Scalar] | dict[str, Scalar] | None = Field(
        None,
        validate_default=True,
        title="Parameters",
        description="A list, bound to each `?` in order, or an object, bound to each `:name`.",
    )
    transaction: bool = Field(
        True,
        validate_default=True,
        title="One transaction",
        description="All statements or none take effect. Without it, each by itself does.",
    )
    isolation_level: IsolationLevel | None = Field(
        None, title="Isolation level", description="The connection's own when not given."
    )
    max_rows: int = Field(
        1000,
        ge=1,
        le=100_000,
        title="Rows kept",
        description="Rows of each result set that are kept; the result says when there were more.",
    )

    @field_validator("query")
    @classmethod
    def _has_a_statement(cls, query: str) -> str:
        if "\0" in query:
            raise ValueError("a NUL character cannot be sent to a database: remove it")
        if next(scan(query), None) is None:
            raise ValueError("there is no statement in it")
        return query

    @field_validator("parameters", mode="before")
    @classmethod
    def _can_be_bound(cls, parameters: object) -> object:
        values: list[tuple[str, Any]] = []
        if isinstance(parameters, dict):
            values = [(f":{name}", value) for name, value in parameters.items()]
        elif isinstance(parameters, list):
            values = [(f"? number {place}", value) for place, value in enumerate(parameters, 1)]
        elif parameters is not None:
            raise ValueError("give a list, bound to each ?, or an object, bound to each :name")
        for place, value in values:
            _check_value(place, value)
        return parameters

    @field_validator("parameters")
    @classmethod
    def _fit_the_query(cls, parameters: Parameters, info: ValidationInfo) -> Parameters:
        if "query" in info.data:
            check(list(scan(info.data["query"])), parameters)
        return parameters

    @field_validator("transaction")
    @classmethod
    def _is_the_only_one(cls, transaction: bool, info: ValidationInfo) -> bool:
        words = own_transaction(info.data.get("query", "")) if transaction else None
        if words:
            raise ValueError(
                f"the query has {words} of its own: leave it out, as the step begins and ends the "
                "transaction, or set transaction to false"
            )
        return transaction


def _check_value(place: str, value: object) -> None:
    if isinstance(value, list | dict):
        raise ValueError(
            f"{place}: a list or object cannot be bound; give one placeholder for each value, "
            "or send it as JSON text"
        )
    if isinstance(value, int) and value not in _INTEGERS:
        raise ValueError(f"{place}: a whole number beyond 64 bits cannot be bound; send it as text")
    if isinstance(value, str) and _UNSENDABLE.search(value):
        raise ValueError(f"{place}: text with a NUL or half a character pair cannot be bound")
