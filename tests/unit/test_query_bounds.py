"""Which queries of tables count as bounded, and what shape they have."""

import pytest

from tests.storage.counting import ONE_ROW, Tally

RANGE = "PartitionKey eq 'a''b' and RowKey ge 'r:' and RowKey lt 'r;'"
SHAPE = "PartitionKey eq ? and RowKey ge ? and RowKey lt ?"


@pytest.mark.parametrize(
    ("choice", "shape"),
    [
        ("", ""),
        (" and ( state eq 'failed' )", " and ( state eq ? )"),
        (
            " and ( state eq 'failed' or state eq 'timeout' ) and ( timezone eq 'UTC' )",
            " and ( state eq ? or state eq ? ) and ( timezone eq ? )",
        ),
    ],
)
def test_columns_may_choose_among_the_rows_of_a_range(choice: str, shape: str) -> None:
    tally = Tally()
    tally.note_query("Days query", RANGE + choice)
    assert tally.unbounded() == []
    assert tally.shapes == {f"Days: {SHAPE}{shape}": 1}


def test_one_row_of_a_table_needs_no_filter_and_more_do() -> None:
    assert Tally(filters=[ONE_ROW, ""]).unbounded() == [""]


@pytest.mark.parametrize(
    "text",
    [
        f"{RANGE} or ( state eq 'failed' )",
        f"{RANGE} and ( state eq 'failed' ) or RowKey ge ''",
        f"{RANGE} and ( state ne 'failed' )",
        "( state eq 'failed' )",
        "PartitionKey eq 'a' and ( state eq 'failed' )",
    ],
)
def test_a_choice_of_columns_is_no_bound(text: str) -> None:
    assert Tally(filters=[text]).unbounded() == [text]
