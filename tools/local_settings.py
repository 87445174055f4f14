"""The settings of a scheduler that runs on this machine, and the secrets that it keeps."""

import base64
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

# The host resolves %SCHEDULER_NAME% in bindings from the environment, not from the app's defaults.
DEFAULTS = {"SCHEDULER_NAME": "scheduler"}
SECRET_SETTINGS = ("SCHEDULER_ADMIN_KEY", "SCHEDULER_KEY_PEPPER", "SCHEDULER_ENCRYPTION_KEYS")


class SettingsUnreadable(Exception):
    """local.settings.json or the kept secrets cannot be read; the text says which and why."""


def new_secrets() -> dict[str, str]:
    """Fresh values for the settings that hold secrets."""
    return {
        "SCHEDULER_ADMIN_KEY": f"local_{secrets.token_urlsafe(32)}",
        "SCHEDULER_KEY_PEPPER": secrets.token_urlsafe(32),
        "SCHEDULER_ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    }


def kept_secrets(folder: Path) -> dict[str, str]:
    """The secrets in `folder`/secrets.json, made at the first call; only the owner can read it."""
    path = folder / "secrets.json"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / "secrets.json.new"
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(new_secrets(), file, indent=2)
        unfinished.rename(path)
    kept = _read(path)
    return {name: str(kept.get(name, "")) for name in SECRET_SETTINGS}


def local_settings(root: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Settings by rank: environment, `root`/local.settings.json (`Values`), kept secrets, defaults.

    An empty value counts as none, so an example file that is copied unchanged works.

    Raises:
        SettingsUnreadable: when a file is no JSON object of the expected form.
    """
    path = root / "local.settings.json"
    values = _read(path).get("Values", {}) if path.is_file() else {}
    if not isinstance(values, dict):
        raise SettingsUnreadable(f"{path}: Values is no object")
    ranked = (
        DEFAULTS,
        kept_secrets(root / ".local"),
        {str(name): "" if value is None else str(value) for name, value in values.items()},
        environ,
    )
    return {name: value for settings in ranked for name, value in settings.items() if value}


def _read(path: Path) -> dict[str, object]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsUnreadable(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict):
        raise SettingsUnreadable(f"{path} holds no JSON object")
    return content
