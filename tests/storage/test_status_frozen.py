"""Storage that takes requests and never answers: probes and people must not wait for the SDK."""

import os
import signal
from collections.abc import AsyncIterator
from time import monotonic

import pytest

import scheduler.api.status
from scheduler.app import App
from scheduler.errors import StorageUnavailable
from scheduler.settings import Settings
from tools.azurite import Azurite
from tools.local_settings import new_secrets


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """An app whose storage has answered once and is frozen then."""
    with Azurite() as azurite:
        app = App(
            Settings.load({**new_secrets(), "AzureWebJobsStorage": azurite.connection_string})
        )
        assert (await app.health.ready())[0]
        assert azurite.pid is not None
        os.kill(azurite.pid, signal.SIGSTOP)
        try:
            yield app
        finally:
            os.kill(azurite.pid, signal.SIGCONT)
            await app.close()


async def test_readiness_fails_within_five_seconds(app: App) -> None:
    began = monotonic()
    ready, body = await app.health.ready()
    assert 4 < monotonic() - began < 7
    (failed,) = (check for check in body["checks"] if check["status"] == "failed")
    assert not ready
    assert failed["name"] == "storage"
    assert failed["detail"] == "storage did not answer within 5 s"


async def test_the_status_gives_up_as_well(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scheduler.api.status, "STATUS_SECONDS", 1)
    began = monotonic()
    with pytest.raises(StorageUnavailable, match="did not answer within 1 s"):
        await app.status.status()
    assert monotonic() - began < 4
