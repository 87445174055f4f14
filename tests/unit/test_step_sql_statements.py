"""The lexer and the binder of the `sql` step."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.sql.lexer import Kind, scan
from steps.sql.statements import ParametersMismatch, Statement, own_transaction, prepare

HIDING_PLACES = [
    "'{}'",
    "'it''s {}'",
    "E'it\\'s {}'",
    '"{}"',
    '"a""{}"',
    "`{}`",
    "[{}]",
    "[a]]{}]",
    "-- {}\n",
    "--{}",
    "/* {} */",
    "/* /* */ {} */",
    "$$ {} $$",
    "$body$ $$ {} $body$",
    "'{}",
    "/* {}",
]


@pytest.mark.parametrize("place", HIDING_PLACES)
@pytest.mark.parametrize("placeholder", [":x", "?", ";"])
def test_placeholders_in_quotes_and_comments_are_text(place: str, placeholder: str) -> None:
    kinds = {token.kind for token in scan(f"SELECT {place.format(placeholder)}")}
    assert kinds <= {Kind.WORD, Kind.OTHER}


@pytest.mark.parametrize(
    "text", ["x::int", "x:: int", "a[1:2]", "a[x:y]", "v := 1", "12:30", "label: SELECT", "::x"]
)
def test_other_colons_are_no_placeholders(text: str) -> None:
    assert Kind.NAME not in {token.kind for token in scan(text)}


def test_names_are_replaced_in_their_order() -> None:
    (call,) = prepare(
        "SELECT :a::int, ':a', :b -- :c\n WHERE x=:a AND y IN(:b,:a)",
        {"a": 1, "b": "two"},
        one_by_one=False,
    )
    assert call.text == "SELECT ?::int, ':a', ? -- :c\n WHERE x=? AND y IN(?,?)"
    assert call.values == (1, "two", 1, "two", 1)


def test_list_leaves_the_text_as_it_is() -> None:
    text = "SELECT ?, :x, a[1:2] -- end"
    assert prepare(text, [5], one_by_one=False) == [Statement(text, (5,))]


def test_statements_one_by_one_take_their_own_values() -> None:
    calls = prepare("/* a; */ INSERT ?;; UPDATE ?, ? ;\n-- end", [1, 2, 3], one_by_one=True)
    assert calls == [Statement("INSERT ?", (1,)), Statement("UPDATE ?, ?", (2, 3))]


def test_trigger_keeps_its_body() -> None:
    trigger = "create temp trigger t after insert on a begin update a set x=1; select 2; end"
    calls = prepare(f"{trigger}; select 3", None, one_by_one=True)
    assert [call.text for call in calls] == [trigger, "select 3"]


@pytest.mark.parametrize(
    ("query", "parameters", "message"),
    [
        ("SELECT ?", None, "the query has 1 \\? and there are 0 parameters"),
        ("SELECT ?", [1, 2], "the query has 1 \\? and there are 2 parameters"),
        ("SELECT 1", [1], "the query has 0 \\? and there are 1 parameters"),
        ("SELECT :x", None, "the query has :x, and there are no parameters"),
        ("SELECT :x, :y, :z", {"y": 1}, "no value is given for :x, :z"),
        ("SELECT :x", {"x": 1, "y": 2}, "the query has no :y"),
        ("SELECT ?", {"x": 1}, "write :name, or give a list"),
    ],
)
def test_mismatch_is_told(query: str, parameters: dict[str, int] | None, message: str) -> None:
    with pytest.raises(ParametersMismatch, match=message):
        prepare(query, parameters, one_by_one=False)


@pytest.mark.parametrize(
    "query",
    [
        "BEGIN; INSERT INTO t VALUES (1)",
        "SELECT 1; commit",
        "rollback;",
        "begin transaction; SELECT 1",
        "BEGIN IMMEDIATE",
        "/* x */ START TRANSACTION; SELECT 1",
        "ROLLBACK TRANSACTION",
    ],
)
def test_transaction_words_of_the_author_are_seen(query: str) -> None:
    assert own_transaction(query)


@pytest.mark.parametrize(
    "query",
    [
        "SAVEPOINT a; ROLLBACK TO a; RELEASE a",
        "ROLLBACK TRANSACTION TO a",
        "SELECT 'x; COMMIT'",
        "SELECT 1 AS commit",
        "BEGIN UPDATE t SET x = 1; END;",
        "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END",
        "DO $$ BEGIN; COMMIT; END $$",
    ],
)
def test_other_words_are_none_of_a_transaction(query: str) -> None:
    assert own_transaction(query) is None


@given(st.text(alphabet="abE $'\"`[]/*-:;?\\\n1", max_size=60))
def test_any_text_is_scanned_to_its_end_in_order(text: str) -> None:
    position = 0
    for token in scan(text):
        assert position <= token.start < token.end <= len(text)
        assert token.text == text[token.start : token.end]
        position = token.end


@given(
    st.lists(st.sampled_from([":a", ":b", "'x :a'", "-- :a\n", "::int", "SELECT", "$$ :b $$"])),
)
def test_as_many_values_as_placeholders(pieces: list[str]) -> None:
    text = " ".join(pieces)
    names = [piece[1:] for piece in pieces if piece in {":a", ":b"}]
    parameters = dict.fromkeys(names, 1)
    (call,) = prepare(text, parameters, one_by_one=False)
    assert len(call.values) == len(names) == sum(t.kind is Kind.MARKER for t in scan(call.text))


@pytest.mark.parametrize("text", ["'" * 99_999, "/*" * 99_999, "$a$" * 66_666, ";" * 99_999])
def test_long_hostile_text_takes_no_time(text: str) -> None:
    prepare(text, None, one_by_one=True)
    prepare(f"create trigger t begin {text}", None, one_by_one=True)
