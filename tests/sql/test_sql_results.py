"""What a `sql` step returns, on real databases."""

import pytest

from tests.sql.bench import Bench


async def test_rows_are_objects_with_typed_columns(database: Bench) -> None:
    result = await database.run("SELECT 1 AS n, 'a' AS word, NULL AS absent")
    assert result.output["rows"] == [{"n": 1, "word": "a", "absent": None}]
    assert result.output["columns"][:2] == [
        {"name": "n", "type": "integer"},
        {"name": "word", "type": "text"},
    ]
    assert result.output["row_count"] == 1
    assert result.output["truncated"] is False
    assert result.metadata["driver"]


async def test_first_row_can_be_published(database: Bench) -> None:
    result = await database.run("SELECT 7 AS total, 'x' AS word UNION ALL SELECT 8, 'y' ORDER BY 1")
    assert result.values == {"total": 7, "word": "x"}


async def test_repeated_and_missing_names_stay_apart(database: Bench) -> None:
    result = await database.run("SELECT 1 AS id, 2 AS id, 3 AS id")
    assert result.output["rows"] == [{"id": 1, "id_2": 2, "id_3": 3}]


async def test_more_rows_than_kept_are_told(database: Bench) -> None:
    query = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)"
    result = await database.run(f"{query} SELECT i FROM n ORDER BY i", max_rows=10)
    assert [row["i"] for row in result.output["rows"]] == list(range(1, 11))
    assert result.output["truncated"] is True
    assert "max_rows" in result.output["message"]
    exact = await database.run(f"{query} SELECT i FROM n", max_rows=50)
    assert exact.output["truncated"] is False


async def test_statement_without_rows_counts_what_it_changed(database: Bench) -> None:
    await database.run("CREATE TABLE t (x integer)")
    result = await database.run("INSERT INTO t VALUES (1), (2), (3)")
    assert result.output["rows"] == []
    assert result.output["rows_affected"] == 3
    assert result.values == {}


async def test_every_statement_of_a_query_runs(database: Bench) -> None:
    result = await database.run(
        "CREATE TABLE t (x integer);\n"
        "INSERT INTO t VALUES (?); -- the ; in here ends nothing\n"
        "INSERT INTO t SELECT x + ? FROM t;\n"
        "SELECT x, ';' AS sign FROM t ORDER BY x;",
        parameters=[1, 10],
    )
    assert [row["x"] for row in result.output["rows"]] == [1, 11]
    assert result.output["rows_affected"] == 2


async def test_earlier_result_sets_are_kept_beside_the_last(database: Bench) -> None:
    result = await database.run("SELECT 1 AS a; SELECT 2 AS b; SELECT 3 AS c")
    assert result.output["rows"] == [{"c": 3}]
    earlier = result.output["earlier_result_sets"]
    assert [one["rows"] for one in earlier] == [[{"a": 1}], [{"b": 2}]]
    assert result.metadata["result_sets"] == 3


async def test_values_come_back_as_they_were_bound(database: Bench) -> None:
    await database.run("CREATE TABLE t (i bigint, f float, s varchar(40), b integer)")
    await database.run(
        "INSERT INTO t VALUES (:i, :f, :s, :b)",
        parameters={"i": 3_000_000_000, "f": 0.1, "s": "Zürich ☃ 𝄞 ' ; --", "b": None},
    )
    rows = await database.rows("SELECT i, f, s, b FROM t")
    assert rows == [[3_000_000_000, 0.1, "Zürich ☃ 𝄞 ' ; --", None]]


async def test_sqlite_integers_keep_all_their_bits(sqlite: Bench) -> None:
    await sqlite.run("CREATE TABLE t (n integer)")
    await sqlite.run("INSERT INTO t VALUES (?), (?)", parameters=[2**63 - 1, -(2**63)])
    rows = await sqlite.rows("SELECT n, 3000000000 FROM t")
    assert rows == [[2**63 - 1, 3_000_000_000], [-(2**63), 3_000_000_000]]


async def test_trigger_body_is_one_statement(sqlite: Bench) -> None:
    await sqlite.run(
        "CREATE TABLE t (x); CREATE TABLE log (x);"
        "CREATE TRIGGER tr AFTER INSERT ON t BEGIN"
        "  INSERT INTO log VALUES (CASE WHEN new.x > 1 THEN 'big' ELSE 'small' END);"
        "  INSERT INTO log VALUES ('done');"
        "END;"
        "INSERT INTO t VALUES (5)"
    )
    assert await sqlite.rows("SELECT x FROM log ORDER BY x") == [["big"], ["done"]]


async def test_postgres_types_become_json(postgres: Bench) -> None:
    result = await postgres.run(
        "SELECT 1.50::numeric AS d, date '2026-03-04' AS day, '\\x00ff'::bytea AS raw, "
        "timestamp '2026-03-04 05:06:07.5' AS t, time '05:06:07' AS clock, "
        "'NaN'::float8 AS nan, 9223372036854775807 AS big"
    )
    assert result.output["rows"] == [
        {
            "d": "1.50",
            "day": "2026-03-04",
            "raw": "AP8=",
            "t": "2026-03-04T05:06:07.500000",
            "clock": "05:06:07",
            "nan": "nan",
            "big": 9223372036854775807,
        }
    ]
    types = [column["type"] for column in result.output["columns"]]
    assert types == ["decimal", "date", "binary", "datetime", "time", "number", "integer"]


async def test_postgres_notices_are_told(postgres: Bench) -> None:
    result = await postgres.run("DO $$ BEGIN RAISE NOTICE 'half way; :x ?'; END $$")
    assert result.output["messages"] == ["NOTICE: half way; :x ?"]


@pytest.mark.parametrize("value", [{"a": "x::text ?", "b": 1}])
async def test_casts_and_strings_are_left_alone(postgres: Bench, value: dict[str, object]) -> None:
    rows = await postgres.rows(
        "SELECT :a::text, ':b', (array[1,2,3])[1:2], $q$ ? :c $q$, :b::int + :b::int /* :d ? */",
        parameters=value,
    )
    assert rows == [["x::text ?", ":b", "{1,2}", " ? :c ", 2]]
