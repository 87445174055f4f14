"""The app for the tests of its API: one a run, on the run's Azurite, with a plug-in step type."""

import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.app.live_app import ADMIN, LiveApp
from tools.local_settings import new_secrets

PASSWORD = f"pw{secrets.token_hex(12)}"


@pytest.fixture(scope="session")
def live(azurite: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveApp]:
    """The loaded function app."""
    folder = tmp_path_factory.mktemp("live")
    plugin = _install_plugin(folder)
    sys.path.insert(0, str(plugin))
    try:
        app = LiveApp(_settings(azurite, folder))
    finally:
        sys.path.remove(str(plugin))
    yield app
    app.close()


def _settings(azurite: str, folder: Path) -> dict[str, str]:
    return {
        **new_secrets(),
        "SCHEDULER_ADMIN_KEY": ADMIN,
        "AzureWebJobsStorage": azurite,
        "SCHEDULER_NAME": f"a{secrets.token_hex(5)}",
        "SCHEDULER_STORAGE_RETRIES": "0",
        "SCHEDULER_CONNECTION_AWAY": (
            f"Driver={{PostgreSQL Unicode}};Server=127.0.0.1;Port=1;UID=owner;PWD={PASSWORD}"
        ),
        "SCHEDULER_CONNECTION_LOCAL": f"Driver=SQLite3;Database={folder / 'data.db'}",
    }


def _install_plugin(folder: Path) -> Path:
    """A folder that looks like an installed distribution which brings the step type `note`."""
    site = folder / "site"
    info = site / "note_steps-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: note-steps\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[job_scheduler.steps]\nnote = tests.app.note_step:NoteStep\n"
    )
    return site
