"""Set-up on machines that lack something: folders of stand-in programs take the place of PATH."""

import subprocess
import sys
from pathlib import Path
from shutil import copytree, which

import pytest

from tools.process import ROOT

PLAIN_TOOLS = ("sh", "cat", "dirname", "readlink", "sha256sum", "env")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder for PATH that holds a plain shell's tools and nothing else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PLAIN_TOOLS:
        found = which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what set-up needs, without anything installed."""
    folder = tmp_path / "project"
    copytree(ROOT / "tools" / "setup", folder / "tools" / "setup")
    for name in ("requirements.txt", "requirements-dev.txt", "package.json", "package-lock.json"):
        (folder / name).write_bytes((ROOT / name).read_bytes())
    return folder


def _program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)
    return path


def _python_313(path: Path) -> Path:
    return _program(path, f'exec "{sys.executable}" "$@"')


def _run(script: str, path: Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": str(path), "HOME": str(cwd / "new-home"), **env}
    shell = which("sh")
    assert shell is not None
    return subprocess.run(
        [shell, "-c", script], cwd=cwd, env=environ, capture_output=True, text=True, check=False
    )


def _find(path: Path, project: Path, **env: str) -> str:
    return _run(". tools/setup/find.sh; find_python_313", path, project, **env).stdout.strip()


def test_a_python_that_does_not_run_or_is_another_version_is_passed_over(
    path: Path, project: Path
) -> None:
    _program(path / "python3.13", "exit 127")
    _program(path / "python3", "exit 1")
    assert _find(path, project) == ""
    named = _python_313(project / "elsewhere" / "python")
    assert _find(path, project, PYTHON=str(named)) == str(named)


def test_python_is_found_among_pyenvs_versions_through_a_link_when_home_is_new(
    path: Path, project: Path
) -> None:
    root = project / "pyenv"
    _program(path / "python3.13", "exit 127")
    program = _program(root / "libexec" / "pyenv", "exit 1")
    (path / "pyenv").symlink_to(program)
    installed = _python_313(root / "versions" / "3.13.5" / "bin" / "python")
    assert Path(_find(path, project)).resolve() == installed
    assert _find(path, project, PYENV_ROOT=str(root)) == str(installed)


def test_without_python_or_node_setup_says_what_to_install(path: Path, project: Path) -> None:
    result = _run("sh tools/setup/setup.sh", path, project)
    assert result.returncode == 1
    assert "Python 3.13 with its venv module was not found: install it" in result.stderr
    _python_313(path / "python3.13")
    result = _run("sh tools/setup/setup.sh", path, project)
    assert result.returncode == 1
    assert "Node.js 20 or newer with npm was not found" in result.stderr
    assert not (project / ".venv").exists()


@pytest.mark.parametrize(
    ("apt", "user", "reason"),
    [
        (
            False,
            0,
            "there is no apt-get here: install by hand what Debian calls unixodbc libsqliteodbc",
        ),
        (True, 1000, "neither root nor sudo: have an administrator run"),
        (True, 0, "apt-get could not install unixodbc libsqliteodbc"),
    ],
)
def test_an_odbc_driver_that_cannot_be_installed_is_named(
    apt: bool, user: int, reason: str, path: Path, project: Path
) -> None:
    _prepare_all_but_odbc(path, project)
    _program(path / "id", f"echo {user}")
    if apt:
        _program(path / "apt-get", 'echo "$@" >>apt.log; exit 100')
    result = _run("sh tools/setup/setup.sh", path, project)
    assert (result.returncode, reason in result.stderr) == (1, True), result.stderr
    if user == 0 and apt:
        calls = (project / "apt.log").read_text().splitlines()
        assert [call.split()[1] for call in calls] == ["install", "update"]


def test_the_list_of_packages_is_refreshed_when_the_driver_is_not_found_in_it(
    path: Path, project: Path
) -> None:
    _prepare_all_but_odbc(path, project)
    _program(path / "id", "echo 0")
    _program(
        path / "apt-get",
        'case "$*" in *update*) : >updated ;; *) [ -e updated ] && : >driver ;; esac',
    )
    result = _run("sh tools/setup/setup.sh", path, project)
    assert result.returncode == 0, result.stderr


def _prepare_all_but_odbc(path: Path, project: Path) -> None:
    """Python and Node packages look installed; the driver is there once a file `driver` is."""
    _python_313(path / "python3.13")
    for name in ("npm", "node"):
        _program(path / name, "exit 0")
    check = "*pyodbc*) [ -e driver ] ;; *) exit 0 ;;"
    _program(project / ".venv" / "bin" / "python", f'case "$*" in {check} esac')
    for folder, files in (
        (".venv", "requirements.txt requirements-dev.txt"),
        ("node_modules", "package.json package-lock.json"),
    ):
        (project / folder).mkdir(exist_ok=True)
        _run(f"cat {files} | sha256sum >{folder}/packages.stamp", path, project)


def test_a_second_run_installs_nothing() -> None:
    result = subprocess.run(
        ["sh", "tools/setup/setup.sh"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
