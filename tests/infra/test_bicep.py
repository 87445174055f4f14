"""What the Bicep promises, read from its parsed form: no Bicep tool and no Azure are needed."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pycep
import pytest

from scheduler.declared_zones import DEFAULT_TIMEZONES
from scheduler.dispatch.queue_names import function_name
from scheduler.settings import CONNECTION_PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
BICEP = ROOT / "infra" / "bicep"
MAIN = BICEP / "main.bicep"
FILES = sorted(BICEP.rglob("*.bicep"))

ROLES = {
    "storageBlobDataOwner": "b7e6dc6d-f1e8-4753-8033-0f276bb0955b",
    "storageQueueDataContributor": "974c5e8b-45b9-4653-ba55-5f855dd0fb88",
    "storageTableDataContributor": "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3",
    "monitoringMetricsPublisher": "3913510d-42f4-4e42-8a64-420c390055eb",
    "keyVaultSecretsOfficer": "b86a8fe4-44ce-4948-aee5-eccb2c155cd7",
    "keyVaultSecretsUser": "4633458b-17de-408a-b874-0445c86b69e6",
}
API_VERSIONS = {
    "Microsoft.Authorization": "2022-04-01",
    "Microsoft.Insights": "2020-02-02",
    "Microsoft.KeyVault": "2023-07-01",
    "Microsoft.ManagedIdentity": "2023-01-31",
    "Microsoft.OperationalInsights": "2023-09-01",
    "Microsoft.Resources": "2024-03-01",
    "Microsoft.Storage": "2023-05-01",
    "Microsoft.Web": "2024-11-01",
}
PLATFORM_SETTINGS = {
    "AzureWebJobsStorage__credential",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
}
OWN_SETTINGS = {"SCHEDULER_NAME", "SCHEDULER_TIMEZONES", "SCHEDULER_RETENTION_DAYS"}
KEY_MATERIAL = re.compile(
    r"listKeys|listAccountSas|listServiceSas|listSecrets|AccountKey=|SharedAccess|"
    r"InstrumentationKey|SharedKey\b|primaryKey|newGuid|@secure|getSecret",
    re.IGNORECASE,
)


@cache
def parsed(path: Path) -> dict[str, Any]:
    return dict(pycep.BicepParser(cache=False).parse(text=path.read_text()))


def module(name: str) -> dict[str, Any]:
    return parsed(BICEP / "modules" / f"{name}.bicep")


def dotted(value: Any) -> Any:  # noqa: ANN401 - a parsed expression has any shape
    """`a.b.c` for a chain of property accessors; everything else as it is."""
    if isinstance(value, dict) and value.get("operator", {}).get("type") == "property_accessor":
        return ".".join(dotted(part) for part in value["operator"]["operands"].values())
    return value


def properties(name: str, symbol: str) -> dict[str, Any]:
    resource: dict[str, Any] = module(name)["resources"][symbol]["config"]["properties"]
    return resource


def setting_names() -> set[str]:
    return {str(field.alias) for field in Settings.model_fields.values() if field.alias}


def calls() -> dict[str, dict[str, Any]]:
    """Module symbol in main.bicep → its call, without the condition around it."""
    found: dict[str, dict[str, Any]] = {}
    for symbol, call in parsed(MAIN)["modules"].items():
        config = call["config"]
        found[symbol] = {
            "path": BICEP / call["detail"]["path"],
            "condition": config.get("condition"),
            "config": config.get("config", config),
        }
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_parses_and_uses_all_that_it_declares(path: Path) -> None:
    template, source = parsed(path), path.read_text()
    declared = [*template.get("parameters", {}), *template.get("variables", {})]
    for name in declared:
        assert len(re.findall(rf"\b{name}\b", source)) > 1, f"{name} is never used"


def test_every_module_is_called_with_the_parameters_that_it_takes() -> None:
    assert {call["path"] for call in calls().values()} == set(FILES) - {MAIN}
    for symbol, call in calls().items():
        taken = parsed(call["path"])["parameters"]
        given = set(call["config"]["params"])
        assert given <= set(taken), symbol
        assert {name for name, it in taken.items() if it["default"] is None} <= given, symbol
        assert call["config"]["scope"] == "group", symbol


def test_every_module_output_that_is_read_exists() -> None:
    read = set(re.findall(r"\b(\w+)\.outputs\.(\w+)", MAIN.read_text()))
    assert read
    for symbol, output in read:
        assert output in parsed(calls()[symbol]["path"])["outputs"], f"{symbol}.{output}"


def test_resources_use_the_api_versions_that_were_looked_up() -> None:
    for path in FILES:
        for symbol, resource in parsed(path).get("resources", {}).items():
            provider = resource["type"].partition("/")[0]
            assert resource["api_version"] == API_VERSIONS[provider], f"{path.name}: {symbol}"


def test_no_key_is_read_made_or_written() -> None:
    for path in [*FILES, BICEP / "main.parameters.json"]:
        assert not KEY_MATERIAL.search(path.read_text()), path.name


def test_storage_takes_identities_only_over_tls() -> None:
    account = properties("storage", "account")
    assert account["allowSharedKeyAccess"] is False
    assert account["allowBlobPublicAccess"] is False
    assert account["allowCrossTenantReplication"] is False
    assert account["supportsHttpsTrafficOnly"] is True
    assert account["minimumTlsVersion"] == "TLS1_2"
    assert properties("storage", "deployments")["publicAccess"] == "None"


def test_telemetry_takes_identities_only_and_lands_in_the_workspace() -> None:
    insights = properties("monitoring", "insights")
    assert insights["DisableLocalAuth"] is True
    assert dotted(insights["WorkspaceResourceId"]) == "workspace.id"


def test_the_vault_asks_for_roles_and_cannot_be_purged() -> None:
    vault = properties("vault", "vault")
    assert vault["enableRbacAuthorization"] is True
    assert vault["enablePurgeProtection"] is True
    assert vault["enableSoftDelete"] is True
    assert "accessPolicies" not in vault


def test_roles_are_the_ones_needed_and_named_by_scope_principal_and_role() -> None:
    variables, resources = module("roles")["variables"], module("roles")["resources"]
    assert variables["roles"]["value"] == ROLES
    assert [dotted(role) for role in variables["storageRoles"]["value"]] == [
        "roles.storageBlobDataOwner",
        "roles.storageQueueDataContributor",
        "roles.storageTableDataContributor",
    ]
    choice = variables["vaultRole"]["value"]["operator"]["operands"]
    assert dotted(choice["true_value"]) == "roles.keyVaultSecretsOfficer"
    assert dotted(choice["false_value"]) == "roles.keyVaultSecretsUser"
    expected = {
        "storageAssignments": ("storage", "role"),
        "insightsAssignment": ("insights", "roles.monitoringMetricsPublisher"),
        "vaultAssignment": ("vault", "vaultRole"),
    }
    assignments = {name for name, it in resources.items() if not it["existing"]}
    assert assignments == set(expected)
    source = (BICEP / "modules" / "roles.bicep").read_text()
    for scope, role in expected.values():
        assert f"guid({scope}.id, principalId, {role})" in source
        assert f"scope: {scope}\n" in source
        assert f"'Microsoft.Authorization/roleDefinitions', {role})" in source


def test_the_app_reads_secrets_and_only_a_named_developer_writes_them() -> None:
    app, developer = calls()["appRoles"], calls()["developerRoles"]
    assert dotted(app["config"]["params"]["principalId"]) == "identity.outputs.principalId"
    assert app["config"]["params"]["mayWriteSecrets"] is False
    assert developer["config"]["params"]["mayWriteSecrets"] is True
    assert "= if (!empty(developerPrincipalId)) {" in MAIN.read_text()
    assert parsed(MAIN)["parameters"]["developerPrincipalId"]["default"] == ""
    assert calls()["api"]["config"]["dependsOn"] == ["appRoles"]


def test_the_app_is_flex_consumption_on_python_313_with_its_own_identity() -> None:
    plan = module("function")["resources"]["plan"]["config"]
    assert plan["sku"] == {"name": "FC1", "tier": "FlexConsumption"}
    app = properties("function", "app")
    assert module("function")["resources"]["app"]["config"]["identity"]["type"] == "UserAssigned"
    assert app["httpsOnly"] is True
    assert dotted(app["keyVaultReferenceIdentity"]) == "identity.id"
    assert app["functionAppConfig"]["runtime"] == {"name": "python", "version": "3.13"}
    deployment = app["functionAppConfig"]["deployment"]["storage"]
    assert deployment["type"] == "blobContainer"
    assert deployment["authentication"]["type"] == "UserAssignedIdentity"
    assert dotted(deployment["authentication"]["userAssignedIdentityResourceId"]) == "identity.id"
    assert set(app["functionAppConfig"]["scaleAndConcurrency"]) == {
        "alwaysReady",
        "instanceMemoryMB",
        "maximumInstanceCount",
    }
    # Flex refuses most other site settings; the rest of them lives in functionAppConfig.
    assert app["siteConfig"] == {"minTlsVersion": "1.2"}


def test_nobody_deploys_with_a_password() -> None:
    for symbol in ("ftpPasswords", "scmPasswords"):
        assert properties("function", symbol) == {"allow": False}


def test_every_app_setting_is_known_to_the_app_or_to_the_platform() -> None:
    union = properties("function", "settings")["function"]
    assert union["type"] == "union"
    *others, plain = union["parameters"].values()
    assert others == ["extraSettings", "secretSettings"]
    assert set(plain) <= setting_names() | PLATFORM_SETTINGS
    needed = {name for name in setting_names() if name.startswith("AzureWebJobsStorage__")}
    assert needed | PLATFORM_SETTINGS | OWN_SETTINGS == set(plain)
    assert plain["AzureWebJobsStorage__credential"] == "managedidentity"


def test_every_secret_setting_is_a_vault_reference() -> None:
    secrets = {
        str(field.alias)
        for field in Settings.model_fields.values()
        if field.repr is False and str(field.alias).startswith("SCHEDULER_")
    }
    variables = module("function")["variables"]
    assert set(variables["ownSecrets"]["value"]) == secrets
    connection = variables["connectionSecrets"]["value"]["function"]["parameters"]["arg_2"]
    assert connection["detail"]["expression"] == f"{CONNECTION_PREFIX}${{toUpper(connection)}}"
    reference = variables["secretSettings"]["value"]["function"]["parameters"]["arg_3"]
    assert reference["detail"]["expression"] == (
        "@Microsoft.KeyVault(VaultName=${keyVaultName};SecretName=${item.secret})"
    )


def test_outputs_tell_names_and_addresses_only() -> None:
    harmless = re.compile(
        r"location|tenant\(\)\.tenantId|identity\.properties\.principalId|(\w+\.)+(name|uri|\w+Name)"
        r"|'https://\$\{app\.properties\.defaultHostName\}'"
    )
    for path in FILES:
        outputs = re.findall(r"^output (\w+) string = (.+)$", path.read_text(), re.MULTILINE)
        assert {name for name, _ in outputs} == set(parsed(path).get("outputs", {})), path.name
        for name, expression in outputs:
            assert harmless.fullmatch(expression), f"{path.name}: {name}"


def test_declared_zones_and_name_default_to_those_of_the_app() -> None:
    parameters = parsed(MAIN)["parameters"]
    assert ",".join(parameters["timezones"]["default"]) == DEFAULT_TIMEZONES
    assert parameters["schedulerName"]["default"] == Settings.model_fields["name"].default


def test_the_parameters_file_gives_what_main_requires_and_nothing_unknown() -> None:
    given = json.loads((BICEP / "main.parameters.json").read_text())["parameters"]
    parameters = parsed(MAIN)["parameters"]
    assert set(given) <= set(parameters)
    assert {name for name, it in parameters.items() if it["default"] is None} <= set(given)


def test_azd_finds_the_resource_group_and_the_service() -> None:
    assert parsed(MAIN)["globals"]["scope"]["value"] == "subscription"
    assert parsed(MAIN)["variables"]["tags"]["value"] == {"'azd-env-name'": "environmentName"}
    tags = module("function")["resources"]["app"]["config"]["tags"]["function"]
    assert tags["parameters"]["arg_2"] == {"'azd-service-name'": "api"}


def test_the_deployment_page_names_every_parameter_role_and_secret() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    secrets = module("function")["variables"]["ownSecrets"]["value"]
    words = [*parsed(MAIN)["parameters"], *(name.replace("_", "-") for name in secrets)]
    assert [word for word in words if f"`{word}`" not in page] == []
    assert f'"{function_name("Europe/London")}": 1' in page
