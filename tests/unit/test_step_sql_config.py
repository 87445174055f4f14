"""What the `sql` step accepts, before anything runs."""

import pytest
from pydantic import ValidationError

from steps.sql.config import SqlConfig


def fault(**fields: object) -> tuple[str, str]:
    """The field and the message of the first fault."""
    with pytest.raises(ValidationError) as caught:
        SqlConfig.model_validate(fields)
    first = caught.value.errors()[0]
    return str(first["loc"][0]), first["msg"]


def test_only_the_query_is_needed() -> None:
    config = SqlConfig.model_validate({"query": "SELECT 1"})
    assert (config.connection_name, config.transaction, config.max_rows) == ("default", True, 1000)
    assert SqlConfig.model_fields.keys() >= SqlConfig.TEMPLATED


@pytest.mark.parametrize(
    "query", ["", "  \n", "-- nothing", "/* x", "SELECT 1\0", "SELECT '\ud800'"]
)
def test_query_has_to_be_a_statement(query: str) -> None:
    assert fault(query=query)[0] == "query"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([1, 2], "a list or object cannot be bound"),
        ({"a": 1}, "a list or object cannot be bound"),
        (2**63, "beyond 64 bits"),
        (-(2**63) - 1, "beyond 64 bits"),
        ("a\0b", "NUL"),
        ("a\ud800b", "half a character pair"),
    ],
)
def test_value_that_cannot_be_bound_is_refused_with_a_hint(value: object, words: str) -> None:
    for query, parameters, name in (
        ("SELECT :x", {"x": value}, ":x"),
        ("SELECT ?", [value], "? number 1"),
    ):
        field, message = fault(query=query, parameters=parameters)
        assert field == "parameters"
        assert words in message
        assert name in message


def test_parameters_have_to_fit_the_query() -> None:
    assert fault(query="SELECT ?")[0] == "parameters"
    assert fault(query="SELECT :x", parameters={"y": 1})[0] == "parameters"
    assert "give a list" in fault(query="SELECT ?", parameters="x")[1]


def test_own_transaction_is_refused_unless_the_step_has_none() -> None:
    field, message = fault(query="BEGIN; SELECT 1; COMMIT")
    assert field == "transaction"
    assert "set transaction to false" in message
    SqlConfig.model_validate({"query": "BEGIN; SELECT 1; COMMIT", "transaction": False})


@pytest.mark.parametrize(
    "fields", [{"max_rows": 0}, {"max_rows": 100_001}, {"isolation_level": "x"}, {"querry": "x"}]
)
def test_unknown_and_wrong_fields_are_refused(fields: dict[str, object]) -> None:
    assert fault(query="SELECT 1", **fields)[0] == next(iter(fields))
