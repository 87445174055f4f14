"""Writes the scheduler's own secrets into its vault, once: `azd` runs it after provisioning.

A secret that the vault has is left alone, so running it again changes nothing. Needs the Azure
CLI, signed in as a principal that may write the vault's secrets. No value is printed, passed on a
command line or kept.
"""

import base64
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TextIO


def _token() -> str:
    return secrets.token_urlsafe(32)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


FIRST_VALUES: Mapping[str, Callable[[], str]] = {
    "SCHEDULER-ADMIN-KEY": _token,
    "SCHEDULER-KEY-PEPPER": _token,
    "SCHEDULER-ENCRYPTION-KEYS": _fernet_key,
}
"""Name of each secret in the vault → what makes its first value."""

NEEDED = (
    "AZURE_KEY_VAULT_NAME",
    "AZURE_SUBSCRIPTION_ID",
    "AZURE_RESOURCE_GROUP",
    "SERVICE_API_NAME",
)
"""Environment variables that `azd` sets from the deployment's outputs."""

REFRESH = (
    "/subscriptions/{AZURE_SUBSCRIPTION_ID}/resourceGroups/{AZURE_RESOURCE_GROUP}"
    "/providers/Microsoft.Web/sites/{SERVICE_API_NAME}"
    "/config/configreferences/appsettings/refresh?api-version=2022-03-01"
)
ATTEMPTS = 20
RETRY_SECONDS = 15.0
"""A new role assignment takes some minutes until the vault knows it."""


def say(text: str, *, to: TextIO | None = None) -> None:
    """Writes one line at once, to standard output unless told."""
    stream = to or sys.stdout
    stream.write(f"{text}\n")
    stream.flush()


class CommandFailed(Exception):
    """The Azure CLI ended with an error; the text is what it wrote to standard error."""


def az(*arguments: str) -> str:
    """Runs the Azure CLI and returns what it wrote.

    Raises:
        CommandFailed: it is missing or ended with an error.
    """
    program = shutil.which("az")
    if program is None:
        raise CommandFailed("the Azure CLI (az) is not on the PATH: install it and run `az login`")
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CommandFailed(done.stderr.strip() or f"az ended with code {done.returncode}")
    return done.stdout


def names_in(vault: str, subscription: str, *, retry_seconds: float) -> set[str]:
    """The names of the vault's secrets; waits while the caller's new role is not known yet.

    Raises:
        CommandFailed: any other error, or refused to the end.
    """
    listing = ("keyvault", "secret", "list", "--vault-name", vault, "--subscription", subscription)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return set(json.loads(az(*listing, "--query", "[].name", "--output", "json")))
        except CommandFailed as failure:
            if "Forbidden" not in str(failure) or attempt == ATTEMPTS:
                raise
            say(f"the vault refuses yet, trying again in {retry_seconds:g} s")
            time.sleep(retry_seconds)
    raise AssertionError("unreachable")


def write(vault: str, subscription: str, name: str, value: str) -> None:
    """Sets one secret through a file that only this user can read.

    Raises:
        CommandFailed: the vault refused.
    """
    handle, path = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            file.write(value)
        target = ("--vault-name", vault, "--subscription", subscription, "--name", name)
        source = ("--file", path, "--encoding", "utf-8")
        az("keyvault", "secret", "set", *target, *source, "--output", "none")
    finally:
        Path(path).unlink()


def main(environ: Mapping[str, str], *, retry_seconds: float = RETRY_SECONDS) -> int:
    """Writes what is missing and has the app read its references again; 0 if all is there."""
    missing = [name for name in NEEDED if not environ.get(name)]
    if missing:
        say(f"not set: {', '.join(missing)}; `azd provision` sets them", to=sys.stderr)
        return 2
    vault, subscription = environ["AZURE_KEY_VAULT_NAME"], environ["AZURE_SUBSCRIPTION_ID"]
    try:
        present = names_in(vault, subscription, retry_seconds=retry_seconds)
        for name in sorted(FIRST_VALUES.keys() - present):
            write(vault, subscription, name, FIRST_VALUES[name]())
            say(f"wrote {name} to {vault}")
        az("rest", "--method", "post", "--url", REFRESH.format_map(environ), "--output", "none")
    except CommandFailed as failure:
        say(f"{failure}\nSee docs/deploy.md, Secrets.", to=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ))
