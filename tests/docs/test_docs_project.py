"""What the pages say of the project as a whole: links, versions, targets, layout, spelling."""

import re
import tomllib
from pathlib import Path

import pytest

from scheduler.settings import Settings
from tests.docs.markdown import PAGES, README, anchors, blocks, links, read, section
from tools.process import ROOT

BRITISH = re.compile(
    r"\b\w*(?:colour|behaviour|honour|cancelled by|licence|catalogue|organis|authoris|initialis"
    r"|serialis|normalis|recognis|summaris|fulfil\b|centre)\w*",
    re.IGNORECASE,
)


def _ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in links(read(page)):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_can_be_reached_from_the_readme() -> None:
    found: set[Path] = set()
    ahead = [README]
    while ahead:
        page = ahead.pop()
        if page in found or page.suffix != ".md" or not page.is_file():
            continue
        found.add(page)
        names = [link.partition("#")[0] for link in links(read(page)) if "://" not in link]
        ahead += [(page.parent / name).resolve() for name in names if name]
    assert set(PAGES) <= found


def test_project_settings_changelog_and_readme_agree_on_the_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    released = re.findall(r"^## \[([^\]]+)\] - \d{4}-\d\d-\d\d$", read(ROOT / "CHANGELOG.md"), re.M)
    assert Settings.model_fields["version"].default == project == released[0]
    assert f"version {project}" in read(README)


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    commands = r"(?:^|`)make ([a-z-]+)"
    assert set(re.findall(commands, read(page), re.M)) <= targets


def _layout() -> dict[str, str]:
    """Path → what it says of it; two blanks of indentation lead one folder down."""
    (tree,) = blocks(section(README, "Layout"), "text")
    entries: dict[str, str] = {}
    folders: list[str] = []
    for line in tree.splitlines():
        indent, name, what = re.fullmatch(r"( *)(\S+) +(\S.*)", line).groups()  # type: ignore[union-attr]
        del folders[len(indent) // 2 :]
        entries["".join([*folders, name])] = what
        folders.append(name)
    return entries


def test_the_layout_names_what_exists() -> None:
    for path in _layout():
        target = ROOT / path
        assert target.is_dir() if path.endswith("/") else target.is_file(), path


def test_the_layout_names_every_folder_of_the_product() -> None:
    named = {path.rstrip("/") for path in _layout()}
    for parent in ("", "scheduler", "steps"):
        packages = {
            str(path.parent.relative_to(ROOT))
            for path in (ROOT / parent).glob("*/*.py")
            if not path.parent.name.startswith((".", "_"))
        }
        assert packages <= named


def test_the_layout_names_every_test_folder() -> None:
    folders = {
        path.parent.name for path in (ROOT / "tests").glob("*/*.py") if path.parent.name[0] != "_"
    }
    assert folders <= set(re.findall(r"\w+", _layout()["tests/"]))


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_spelling_is_american(page: Path) -> None:
    assert not BRITISH.findall(read(page))


@pytest.mark.parametrize("page", PAGES, ids=_ids)
def test_every_code_block_is_closed(page: Path) -> None:
    assert read(page).count("\n```") % 2 == 0
