"""docs/settings.md tells every setting, with its default, and no other."""

import re
from typing import Any

import pytest

from scheduler.settings import CONNECTION_PREFIX, Settings
from tests.docs.field_tables import NONE
from tests.docs.markdown import DOCS, PAGES, read, table, words
from tools.process import ROOT

PAGE = DOCS / "settings.md"
ROWS = table(read(PAGE), "setting", "default")
DEFAULTS = {words(row["setting"])[0]: row["default"] for row in ROWS}
CONNECTION = f"{CONNECTION_PREFIX}<NAME>"
OF_THE_HOST = {
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__",
    "AzureFunctionsJobHost__",
}
FIELDS = {
    str(field.alias): field for field in Settings.model_fields.values() if field.alias is not None
}


def _devhost_settings() -> set[str]:
    sources = [path.read_text("utf-8") for path in (ROOT / "tools" / "devhost").glob("*.py")]
    return {name for source in sources for name in re.findall(r"DEVHOST_[A-Z_]+", source)}


def _shown(default: Any) -> str:  # noqa: ANN401
    if default in (None, ()):
        return NONE
    text = ",".join(default) if isinstance(default, tuple) else str(default)
    return f"`{text}`"


def test_every_setting_is_documented_and_nothing_else() -> None:
    assert DEFAULTS.keys() == FIELDS.keys() | _devhost_settings() | {CONNECTION}


def test_no_setting_is_documented_twice() -> None:
    assert len(ROWS) == len(DEFAULTS)


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_the_documented_default_is_the_real_one(name: str) -> None:
    assert DEFAULTS[name] == _shown(FIELDS[name].default)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: words(row["setting"])[0])
def test_every_setting_says_what_it_is_for(row: dict[str, str]) -> None:
    assert len(row["what"].split()) >= 3


def test_no_page_names_a_setting_that_does_not_exist() -> None:
    known = DEFAULTS.keys() | OF_THE_HOST
    pattern = r"\b(?:SCHEDULER_[A-Z_]+|AzureWebJobsStorage__\w*)"
    found = {
        (path.name, name)
        for path in PAGES
        for name in re.findall(pattern, read(path))
        if name not in known and not name.startswith(CONNECTION_PREFIX)
    }
    assert not found
