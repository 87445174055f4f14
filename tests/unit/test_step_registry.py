"""The registry: one door for all step types, and one broken type that harms no other."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from textwrap import dedent

import pytest

from steps.registry import GROUP, Registry, StepTypeNotFound

GOOD = """
    from steps.contract import StepConfig, StepContext, StepResult, StepType

    class Config(StepConfig):
        name: str

    class Greet(StepType):
        type = "greet"
        title = "Greet"
        description = "Says hello"
        Config = Config
        closed = False

        async def run(self, config: Config, context: StepContext) -> StepResult:
            return StepResult(output=f"hello {config.name}")

        async def close(self) -> None:
            Greet.closed = True

    class Wrong(Greet):
        type = "something_else"

    class Absent(Greet):
        type = "absent"

        def unavailable_reason(self):
            return "needs the frobnicator: install it"

    class Crashing(Absent):
        type = "crashing"

        def unavailable_reason(self):
            raise OSError("no disk")

        async def close(self):
            raise OSError("cannot")
"""


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package of step types that is on the import path."""
    (tmp_path / "greet_plugin.py").write_text(dedent(GOOD))
    (tmp_path / "broken_plugin.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "greet_plugin"
    for name in ("greet_plugin", "broken_plugin"):
        sys.modules.pop(name, None)


def registry(**sources: str) -> Registry:
    return Registry(EntryPoint(name, value, GROUP) for name, value in sources.items())


def test_built_in_types_are_discovered() -> None:
    found = Registry.discover()
    assert "sql" in found.names
    assert found.get("sql").title
    assert found.get("sql") is found.get("sql")


def test_names_are_known_without_importing(plugin: str) -> None:
    assert registry(greet="greet_plugin:Greet", broken="broken_plugin:X").names == (
        "broken",
        "greet",
    )
    assert plugin not in sys.modules


def test_listing_shows_the_schema_of_the_configuration(plugin: str) -> None:
    (info,) = registry(greet=f"{plugin}:Greet").types()
    assert (info.type, info.title, info.description) == ("greet", "Greet", "Says hello")
    assert info.schema["properties"]["name"] == {"title": "Name", "type": "string"}
    assert (info.available, info.unavailable_reason) == (True, None)


def test_broken_type_is_listed_with_its_reason_and_harms_no_other(plugin: str) -> None:
    types = registry(broken="broken_plugin:X", greet=f"{plugin}:Greet").types()
    assert [(info.type, info.available) for info in types] == [("broken", False), ("greet", True)]
    assert "No module named 'no_such_library'" in (types[0].unavailable_reason or "")


def test_type_that_cannot_run_here_says_why(plugin: str) -> None:
    types = registry(absent=f"{plugin}:Absent", crashing=f"{plugin}:Crashing").types()
    assert types[0].unavailable_reason == "needs the frobnicator: install it"
    assert types[1].unavailable_reason == "its check failed with OSError: no disk"
    assert not any(info.available for info in types)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("greet_plugin:Wrong", "is of type 'something_else', not 'greet'"),
        ("greet_plugin:Nothing", "has no attribute 'Nothing'"),
        ("greet_plugin:Config", "is not a subclass of steps.contract.StepType"),
        ("steps.contract:StepType", "has no text in its attribute 'type'"),
    ],
)
def test_class_that_is_no_step_type_is_refused(plugin: str, value: str, reason: str) -> None:
    found = registry(greet=value)
    with pytest.raises(StepTypeNotFound, match="cannot be loaded") as caught:
        found.get("greet")
    assert reason in caught.value.message
    assert [(one.type, one.source) for one in found.rejected] == [("greet", value)]


def test_first_of_a_name_wins_and_the_second_is_reported(plugin: str) -> None:
    sources = [
        EntryPoint("greet", f"{plugin}:Greet", GROUP),
        EntryPoint("greet", "broken_plugin:X", GROUP),
    ]
    found = Registry(sources)
    assert found.get("greet").title == "Greet"
    (rejected,) = found.rejected
    assert rejected.source == "broken_plugin:X"
    assert rejected.reason == f"the name is already taken by {plugin}:Greet"


def test_installed_packages_are_found_and_cannot_replace_a_built_in_type(
    plugin: str, tmp_path: Path
) -> None:
    info = tmp_path / "greeting-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: greeting\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        f"[{GROUP}]\ngreet = {plugin}:Greet\nsql = {plugin}:Greet\n"
    )
    found = Registry.discover()
    assert found.get("greet").title == "Greet"
    assert found.get("sql").title == "SQL query"
    assert [one.source for one in found.rejected] == [f"{plugin}:Greet of greeting 1.2"]


def test_unknown_type_names_the_nearest() -> None:
    with pytest.raises(KeyError) as caught:
        registry(sql="steps.sql:SqlStep").get("sqll")
    assert str(caught.value) == "there is no step type 'sqll'; did you mean 'sql'?"
    with pytest.raises(StepTypeNotFound, match="the known ones are sql"):
        registry(sql="steps.sql:SqlStep").get("zzz")


async def test_close_reaches_every_type_though_one_fails(plugin: str) -> None:
    found = registry(crashing=f"{plugin}:Crashing", greet=f"{plugin}:Greet")
    greet = found.get("greet")
    found.get("crashing")
    await found.close()
    assert greet.closed  # type: ignore[attr-defined]
