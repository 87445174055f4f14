"""docs/architecture.md names a test for each case, and every one of them exists."""

import ast

from tests.docs.markdown import DOCS, section, table, words
from tools.process import ROOT

PAGE = DOCS / "architecture.md"
ROWS = table(section(PAGE, "What may go wrong"), "case", "rule", "test")


def _tests_of(file: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / file).read_text("utf-8"))
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, functions)}


def test_every_case_names_a_rule_and_tests_that_exist() -> None:
    for row in ROWS:
        file, *names = words(row["test"])
        assert names, row["case"]
        assert set(names) <= _tests_of(file), row["case"]
        assert row["rule"], row["case"]


def test_the_twenty_five_cases_are_all_there() -> None:
    numbers = [int(row["case"]) for row in ROWS if row["case"].isdecimal()]
    assert numbers == list(range(1, 26))
