"""docs/errors.md tells every stable error code of the source, and no other."""

import ast

from tests.docs.error_codes import FOLDERS, codes_in_source
from tests.docs.markdown import DOCS, read, section, table, words
from tools.process import ROOT

PAGE = DOCS / "errors.md"
CODES = codes_in_source()


def _documented(title: str) -> list[str]:
    return [code for row in table(section(PAGE, title), "code") for code in words(row["code"])]


def test_every_code_of_a_reply_is_documented_with_its_status() -> None:
    rows = table(section(PAGE, "Replies"), "code", "status")
    assert {words(row["code"])[0]: int(row["status"]) for row in rows} == CODES.replies


def test_every_code_of_a_field_is_documented() -> None:
    assert set(_documented("Fields")) == CODES.faults


def test_every_code_of_a_step_is_documented() -> None:
    assert set(_documented("Steps")) == CODES.steps


def test_every_code_of_a_warning_is_documented() -> None:
    assert set(_documented("Warnings")) == CODES.warnings


def test_no_code_is_documented_twice_in_one_place() -> None:
    for title in ("Replies", "Fields", "Steps", "Warnings"):
        codes = _documented(title)
        assert len(codes) == len(set(codes)), title


def test_every_code_says_what_it_means() -> None:
    for row in table(read(PAGE), "code"):
        assert row["what it means"], row["code"]


def test_step_types_write_their_codes_out_so_that_they_are_found() -> None:
    hidden = [
        f"{path.name}:{node.lineno}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "StepFailed"
        and not isinstance(node.args[0], ast.Constant)
    ]
    assert not hidden
