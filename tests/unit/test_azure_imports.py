"""Which package of Azure is imported where; import-linter sees no further than `azure`."""

import ast
from collections.abc import Iterator
from pathlib import Path

from tools.process import ROOT

ALLOWED = {
    "functions": {"azure.functions"},
    "scheduler": set[str](),
    "scheduler/storage": {"azure.core", "azure.data", "azure.identity", "azure.storage"},
    "steps": set[str](),
}
"""Folder → the Azure packages that its modules may import; the deepest folder decides."""


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _allowed(path: Path) -> set[str]:
    name = path.relative_to(ROOT).as_posix()
    folder = max((one for one in ALLOWED if name.startswith(f"{one}/")), key=len)
    return ALLOWED[folder]


def test_azure_packages_are_imported_where_they_belong_and_nowhere_else() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), ".".join(name.split(".")[:2]))
        for folder in ("functions", "scheduler", "steps")
        for path in (ROOT / folder).rglob("*.py")
        for name in _imported(path)
        if name.split(".")[0] == "azure" and ".".join(name.split(".")[:2]) not in _allowed(path)
    }
    assert not found
