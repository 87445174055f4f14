"""Key Vault references that did not resolve, which arrive as their own text."""

import pytest

from scheduler.errors import Misconfigured
from scheduler.settings import Settings

REFERENCE = "@Microsoft.KeyVault(VaultName=vault;SecretName=secret)"


@pytest.mark.parametrize(
    "name",
    [
        "SCHEDULER_ADMIN_KEY",
        "SCHEDULER_KEY_PEPPER",
        "SCHEDULER_ENCRYPTION_KEYS",
        "AzureWebJobsStorage",
    ],
)
def test_a_secret_whose_reference_did_not_resolve_is_refused_by_name(name: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.load({name: REFERENCE})
    assert name in refused.value.message
    assert "did not resolve" in refused.value.message
    assert "VaultName" not in refused.value.message


def test_a_connection_whose_reference_did_not_resolve_is_left_out_and_the_others_stay() -> None:
    settings = Settings.load(
        {
            "SCHEDULER_CONNECTION_LATER": REFERENCE,
            "SCHEDULER_CONNECTION_MAIN": "Driver=SQLite3;Database=:memory:",
        }
    )
    assert settings.connections == {"main": "Driver=SQLite3;Database=:memory:"}
