"""Redaction of connection strings, and values on their way to JSON."""

from datetime import UTC, date, datetime, time
from decimal import Decimal

import pytest

from steps.sql.redaction import Redaction, fields
from steps.sql.results import Results, column_names, result_set, to_json


def test_fields_of_a_connection_string_are_read_with_braces() -> None:
    assert fields("Driver={My SQL};PWD={a;b}}c=};UID = me ;Server=x") == {
        "driver": "My SQL",
        "pwd": "a;b}c=",
        "uid": "me",
        "server": "x",
    }


@pytest.mark.parametrize(
    ("connection", "text", "expected"),
    [
        ("PWD=hunter2;Server=x", "login with hunter2 failed", "login with *** failed"),
        ("PWD={hun;ter}}2};Server=x", "got hun;ter}2 or {hun;ter}}2}", "got *** or {***}"),
        ("UID=sa;PWD=x", "message for sa: x", "message for ***: ***"),
        ("Password=S3cretword;User ID=bob1", "S3CRETWORD of bob1", "*** of ***"),
        ("Server=x", "cannot read PWD=abc;UID={d;e};Port=1", "cannot read PWD=***;UID=***;Port=1"),
        ("Server=x;PWD=abcd", "in 'Server=x;PWD=abcd'", "in '***'"),
        ("Server=x;Database=data", "no database data", "no database data"),
    ],
)
def test_secrets_are_masked(connection: str, text: str, expected: str) -> None:
    assert Redaction(connection)(text) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (2**62, 2**62),
        (1.5, 1.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Decimal("1.50"), "1.50"),
        (date(2026, 1, 2), "2026-01-02"),
        (datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "2026-01-02T03:04:05+00:00"),
        (time(3, 4, 5), "03:04:05"),
        (bytearray(b"\x00\xff"), "AP8="),
        (b"", ""),
    ],
)
def test_values_become_json(value: object, expected: object) -> None:
    assert to_json(value) == expected


def test_column_names_are_unique_and_never_empty() -> None:
    assert column_names(["id", "id_2", "id", "", "id", "a\0"]) == [
        "id",
        "id_2",
        "id_3",
        "column_4",
        "id_4",
        "a",
    ]
    assert len(column_names(["same"] * 5_000)) == 5_000


def test_result_sets_and_notices_are_bounded() -> None:
    results = Results()
    for number in range(30):
        results.add_set(result_set([("n", int)], [(number,)], 10))
        results.add_notices([f"notice {number}"] * 10)
    output = results.output()
    assert output["rows"] == [{"n": 29}]
    assert [one["rows"][0]["n"] for one in output["earlier_result_sets"]] == list(range(20, 29))
    assert len(output["messages"]) == 100
    assert results.set_count == 30
