"""The files beside the Bicep that decide what is deployed and how the host runs it."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.settings import CONNECTION_PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {
    "function_app.py",
    "functions",
    "host.json",
    "pyproject.toml",
    "requirements.txt",
    "scheduler",
    "steps",
}
"""All that a deployment may take from the project's folder."""

KEPT_OUT = [
    ".git/config",
    ".local/azurite/data",
    ".venv/bin/python",
    "benchmarks/run.py",
    "docs/deploy.md",
    "examples/job.json",
    "infra/bicep/main.bicep",
    "local.settings.json",
    "node_modules/azurite/package.json",
    "requirements-dev.in",
    "requirements-dev.txt",
    "scheduler/__pycache__/app.cpython-313.pyc",
    ".mypy_cache/a",
    ".pytest_cache/a",
    ".ruff_cache/a",
    "tests/conftest.py",
    "tools/azurite.py",
]


def read_json(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((ROOT / name).read_text())
    return content


def kept_out(paths: list[str], folder: Path) -> set[str]:
    """Those of the paths that .funcignore names, by the rules of .gitignore."""
    git = shutil.which("git")
    assert git, "this test asks git, which knows the rules"
    subprocess.run([git, "init", "--quiet", str(folder)], check=True)
    shutil.copy(ROOT / ".funcignore", folder / ".gitignore")
    command = [git, "-C", str(folder), "check-ignore", "--no-index", "--stdin"]
    done = subprocess.run(
        command, input="\n".join(paths), capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return set(done.stdout.splitlines())


def test_the_host_polls_and_retries_as_designed() -> None:
    host = read_json("host.json")
    assert host["version"] == "2.0"
    assert host["functionTimeout"] == "02:00:00"
    assert host["extensions"]["http"] == {"routePrefix": ""}
    assert host["extensions"]["queues"] == {
        "batchSize": 16,
        "newBatchThreshold": 16,
        "visibilityTimeout": "00:00:30",
        "maxDequeueCount": 10,
        "maxPollingInterval": "00:00:02",
        "messageEncoding": "base64",
    }


def test_host_and_app_agree_on_the_dequeue_count() -> None:
    queues = read_json("host.json")["extensions"]["queues"]
    assert queues["maxDequeueCount"] == Settings.model_fields["max_dequeue_count"].default


def test_the_extension_bundle_is_a_whole_major_version() -> None:
    assert read_json("host.json")["extensionBundle"] == {
        "id": "Microsoft.Azure.Functions.ExtensionBundle",
        "version": "[4.0.0, 5.0.0)",
    }


def test_requests_exceptions_and_log_lines_are_never_sampled_away() -> None:
    sampling = read_json("host.json")["logging"]["applicationInsights"]["samplingSettings"]
    assert set(sampling["excludedTypes"].split(";")) == {"Request", "Exception", "Trace"}


def test_a_deployment_takes_nothing_but_the_app(tmp_path: Path) -> None:
    assert kept_out(KEPT_OUT, tmp_path) == set(KEPT_OUT)


def test_everything_in_the_project_folder_is_shipped_or_kept_out(tmp_path: Path) -> None:
    present = {path.name for path in ROOT.iterdir()}
    assert present - kept_out(sorted(present), tmp_path) <= SHIPPED


def test_the_app_itself_is_shipped(tmp_path: Path) -> None:
    modules = [
        str(path.relative_to(ROOT))
        for folder in ("functions", "scheduler", "steps")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert modules
    assert kept_out([*SHIPPED, *modules], tmp_path) == set()


def test_the_example_of_local_settings_names_known_settings_and_no_secret() -> None:
    example = read_json("local.settings.example.json")
    assert example["IsEncrypted"] is False
    values: dict[str, str] = example["Values"]
    known = {field.alias for field in Settings.model_fields.values()} | {"FUNCTIONS_WORKER_RUNTIME"}
    secret = {field.alias for field in Settings.model_fields.values() if field.repr is False}
    for name, value in values.items():
        assert name in known or name.startswith(CONNECTION_PREFIX), name
        if name in secret or name.startswith(CONNECTION_PREFIX):
            assert value in ("", "UseDevelopmentStorage=true"), name
    assert Settings.load(values).timezones == Settings.load({}).timezones


@pytest.mark.parametrize("shell", ["posix", "windows"])
def test_azd_runs_a_script_that_exists_after_provisioning(shell: str) -> None:
    command = yaml.safe_load((ROOT / "azure.yaml").read_text())["hooks"]["postprovision"][shell]
    program, script = command["run"].split()
    assert program.startswith("python")
    assert (ROOT / script).is_file()


def test_azd_finds_the_infrastructure_and_the_app() -> None:
    project = yaml.safe_load((ROOT / "azure.yaml").read_text())
    infra = project["infra"]
    assert infra["provider"] == "bicep"
    assert (ROOT / infra["path"] / f"{infra['module']}.bicep").is_file()
    assert (ROOT / infra["path"] / f"{infra['module']}.parameters.json").is_file()
    service = project["services"]["api"]
    assert (service["language"], service["host"]) == ("python", "function")
    assert (ROOT / service["project"] / "host.json").is_file()
