"""Where storage is: a setting that names none is said plainly, and its secret stays inside."""

import pytest

from scheduler.errors import Misconfigured, StorageUnavailable
from scheduler.settings import Settings
from scheduler.storage.account import Storage


@pytest.mark.parametrize(
    "text", ["hunter2", "AccountKey=hunter2", "AccountName=x;AccountKey=not base64!"]
)
def test_a_connection_string_that_is_none_names_the_setting_alone(text: str) -> None:
    with pytest.raises(Misconfigured, match="AzureWebJobsStorage is no connection string") as told:
        Storage(Settings.load({"AzureWebJobsStorage": text}))
    assert "hunter2" not in str(told.value)
    assert told.value.__cause__ is None


async def test_no_request_looks_for_settings_of_the_machine(
    azurite: str, scheduler_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[object] = []
    monkeypatch.setattr("aiohttp.client.netrc_from_env", lambda: looked.append("netrc"))
    settings = Settings.load({"AzureWebJobsStorage": azurite, "SCHEDULER_NAME": scheduler_name})
    storage = Storage(settings)
    assert await storage.jobs.get("0", "job:none") is None
    assert await storage.outputs.get("none") is None
    await storage.close()
    assert looked == []


async def test_a_proxy_that_the_machine_names_is_used(
    azurite: str, scheduler_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody listens there
    values = {"AzureWebJobsStorage": azurite, "SCHEDULER_NAME": scheduler_name}
    storage = Storage(Settings.load({**values, "SCHEDULER_STORAGE_RETRIES": "0"}))
    with pytest.raises(StorageUnavailable):
        await storage.jobs.get("0", "job:none")
    await storage.close()


def test_no_storage_at_all_names_the_setting() -> None:
    with pytest.raises(Misconfigured, match="AzureWebJobsStorage is missing"):
        Storage(Settings.load({}))
