"""What the host loads to learn the triggers, at each cold start: names, and no part of the app."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest
from pydantic import BaseModel

import function_app
from functions.http import ENDPOINTS
from tools.process import ROOT

HEAVY = (
    "aiohttp",
    "azure.core",
    "azure.data",
    "azure.identity",
    "azure.storage",
    "cron_descriptor",
    "croniter",
    "cryptography",
    "dateutil",
    "pydantic",
    "pydantic_core",
    "pyodbc",
    "requests",
    "scheduler.app",
    "scheduler.settings",
    "sqlalchemy",
    "steps",
    "yaml",
)
PROGRAM = """
import json, sys
import azure.functions
before = set(sys.modules)
import function_app
functions = [f.get_function_name() for f in function_app.app.get_functions()]
print(json.dumps([sorted(set(sys.modules) - before), functions]))
"""


@cache
def _indexed(**settings: str) -> tuple[set[str], list[str]]:
    """The modules that indexing loads beside the host's library, and the functions it finds."""
    environ = {name: text for name, text in os.environ.items() if not name.startswith("SCHEDULER_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=ROOT,
        env={**environ, "PYTHONPATH": str(ROOT), **settings},
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    modules, functions = json.loads(done.stdout)
    return set(modules), functions


def test_indexing_loads_no_client_no_model_and_no_part_of_the_app() -> None:
    modules, functions = _indexed()
    loaded = {name for name in modules for heavy in HEAVY if f"{name}.".startswith(f"{heavy}.")}
    assert not loaded
    assert {"tick", "relay", "tz_utc", "read_live", "create_job"} <= set(functions)


@pytest.mark.parametrize(
    "wrong",
    [
        {"SCHEDULER_MAX_CONCURRENT_PER_TIMEZONE": "many"},
        {"SCHEDULER_KEY_PEPPER": "short"},
        {"SCHEDULER_ADMIN_KEY": "@Microsoft.KeyVault(VaultName=vault;SecretName=secret)"},
        {"SCHEDULER_STEP_LIMITS": "sql"},
        {"AzureWebJobsStorage": "no connection string"},
        {"SCHEDULER_NAME": "Not A Name"},
    ],
)
def test_a_wrong_setting_takes_no_function_away(wrong: dict[str, str]) -> None:
    assert _indexed(**wrong)[1] == _indexed()[1]


def test_the_models_that_endpoints_name_are_there() -> None:
    assert function_app.app is not None
    models = {endpoint.name: endpoint.body_model() for endpoint in ENDPOINTS if endpoint.model}
    assert models
    for name, model in models.items():
        assert issubclass(model, BaseModel), name


def test_a_wrong_zone_takes_its_own_trigger_away_alone() -> None:
    functions = _indexed(SCHEDULER_TIMEZONES="UTC, Mars/Base ,Asia/Tokyo,UTC")[1]
    assert [name for name in functions if name.startswith("tz_")] == ["tz_utc", "tz_asia_tokyo"]
