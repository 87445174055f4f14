"""Where storage is: a setting that names none is said plainly, and its secret stays inside."""

import pytest

from scheduler.errors import Misconfigured
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


def test_no_storage_at_all_names_the_setting() -> None:
    with pytest.raises(Misconfigured, match="AzureWebJobsStorage is missing"):
        Storage(Settings.load({}))
