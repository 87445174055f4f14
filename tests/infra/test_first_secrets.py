"""The script that fills a new vault, run against a stand-in for the Azure CLI."""

import json
import os
import stat
import sys
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from infra.bicep import first_secrets
from scheduler.settings import Settings

ENVIRON = {
    "AZURE_KEY_VAULT_NAME": "kv-test",
    "AZURE_SUBSCRIPTION_ID": "sub",
    "AZURE_RESOURCE_GROUP": "rg-test",
    "SERVICE_API_NAME": "func-test",
}
STAND_IN = """#!{python}
import json, pathlib, stat, sys
home = pathlib.Path(__file__).parent
arguments = sys.argv[1:]
with (home / "calls.jsonl").open("a") as calls:
    calls.write(json.dumps(arguments) + "\\n")
option = lambda name: arguments[arguments.index(name) + 1]
vault = home / "vault"
if arguments[:3] == ["keyvault", "secret", "list"]:
    refusals = home / "refusals"
    left = int(refusals.read_text()) if refusals.exists() else 0
    if left:
        refusals.write_text(str(left - 1))
        sys.exit("ERROR: (Forbidden) Caller is not authorized")
    print(json.dumps([path.name for path in vault.iterdir()]))
elif arguments[:3] == ["keyvault", "secret", "set"]:
    source = pathlib.Path(option("--file"))
    assert stat.S_IMODE(source.stat().st_mode) == 0o600
    (vault / option("--name")).write_text(source.read_text())
    (home / "source").write_text(str(source))
elif arguments[0] != "rest":
    sys.exit("ERROR: unknown command")
"""


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of an `az` that keeps its secrets in `vault/` and its calls in `calls.jsonl`."""
    (tmp_path / "vault").mkdir()
    program = tmp_path / "az"
    program.write_text(STAND_IN.replace("{python}", sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    return tmp_path


def vault(cli: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in (cli / "vault").iterdir()}


def calls(cli: Path) -> list[list[str]]:
    return [json.loads(line) for line in (cli / "calls.jsonl").read_text().splitlines()]


def test_a_new_vault_gets_secrets_that_the_app_accepts(cli: Path) -> None:
    assert first_secrets.main(ENVIRON) == 0
    settings = Settings.load({name.replace("-", "_"): text for name, text in vault(cli).items()})
    assert settings.admin_key
    assert settings.key_pepper
    assert settings.admin_key != settings.key_pepper
    (key,) = settings.encryption_keys
    assert Fernet(key).decrypt(Fernet(key).encrypt(b"text")) == b"text"


def test_a_second_run_changes_no_secret(cli: Path) -> None:
    (cli / "vault" / "SCHEDULER-KEY-PEPPER").write_text("a pepper in use since long ago")
    first_secrets.main(ENVIRON)
    first = vault(cli)
    assert first["SCHEDULER-KEY-PEPPER"] == "a pepper in use since long ago"
    assert first_secrets.main(ENVIRON) == 0
    assert vault(cli) == first


def test_no_value_reaches_a_command_line_the_screen_or_a_file_that_stays(
    cli: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    first_secrets.main(ENVIRON)
    shown = "".join(capfd.readouterr()) + (cli / "calls.jsonl").read_text()
    assert not [name for name, value in vault(cli).items() if value in shown]
    assert not Path((cli / "source").read_text()).exists()


def test_the_app_is_told_to_read_its_references_again(cli: Path) -> None:
    first_secrets.main(ENVIRON)
    *_, last = calls(cli)
    assert last[:3] == ["rest", "--method", "post"]
    assert last[last.index("--url") + 1] == (
        "/subscriptions/sub/resourceGroups/rg-test/providers/Microsoft.Web/sites/func-test"
        "/config/configreferences/appsettings/refresh?api-version=2022-03-01"
    )


def test_a_role_that_the_vault_does_not_know_yet_is_waited_for(cli: Path) -> None:
    (cli / "refusals").write_text("2")
    assert first_secrets.main(ENVIRON, retry_seconds=0) == 0
    assert vault(cli).keys() == first_secrets.FIRST_VALUES.keys()


def test_a_vault_that_refuses_to_the_end_is_an_error_with_a_remedy(
    cli: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (cli / "refusals").write_text(str(first_secrets.ATTEMPTS))
    assert first_secrets.main(ENVIRON, retry_seconds=0) == 1
    assert vault(cli) == {}
    message = capsys.readouterr().err
    assert "Forbidden" in message
    assert "docs/deploy.md" in message


def test_without_the_azure_cli_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert first_secrets.main(ENVIRON) == 1
    assert "az login" in capsys.readouterr().err


def test_a_missing_variable_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert first_secrets.main({**ENVIRON, "AZURE_KEY_VAULT_NAME": ""}) == 2
    assert "AZURE_KEY_VAULT_NAME" in capsys.readouterr().err


def test_the_bicep_refers_to_every_secret_that_is_written() -> None:
    bicep = Path(first_secrets.__file__).parent / "modules" / "function.bicep"
    for name in first_secrets.FIRST_VALUES:
        assert f"'{name.replace('-', '_')}'" in bicep.read_text()
