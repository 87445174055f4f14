"""Every app setting, in one place: name, type, default, unit. `docs/settings.md` lists them all."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from scheduler.declared_zones import DEFAULT_TIMEZONES, is_declarable, split_words
from scheduler.errors import Misconfigured

CONNECTION_PREFIX = "SCHEDULER_CONNECTION_"
_REFERENCE = "@Microsoft.KeyVault("


def _split(value: object) -> object:
    return split_words(value) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_split)]


class Settings(BaseModel):
    """The app's settings; every field's alias is the name of its environment variable."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    name: str = Field("scheduler", alias="SCHEDULER_NAME", pattern=r"^[a-z][a-z0-9]{2,19}$")
    timezones: Words = Field(
        alias="SCHEDULER_TIMEZONES", default=_split(DEFAULT_TIMEZONES), validate_default=True
    )
    version: str = Field("2.0.0a1", alias="SCHEDULER_VERSION")

    storage_connection_string: str | None = Field(None, alias="AzureWebJobsStorage", repr=False)
    storage_table_uri: str | None = Field(None, alias="AzureWebJobsStorage__tableServiceUri")
    storage_queue_uri: str | None = Field(None, alias="AzureWebJobsStorage__queueServiceUri")
    storage_blob_uri: str | None = Field(None, alias="AzureWebJobsStorage__blobServiceUri")
    storage_client_id: str | None = Field(None, alias="AzureWebJobsStorage__clientId")
    storage_retries: int = Field(3, alias="SCHEDULER_STORAGE_RETRIES", ge=0, le=10)
    storage_timeout_seconds: float = Field(10, alias="SCHEDULER_STORAGE_TIMEOUT_SECONDS", gt=0)

    admin_key: str | None = Field(None, alias="SCHEDULER_ADMIN_KEY", min_length=16, repr=False)
    key_pepper: str | None = Field(None, alias="SCHEDULER_KEY_PEPPER", min_length=16, repr=False)
    encryption_keys: Words = Field((), alias="SCHEDULER_ENCRYPTION_KEYS", repr=False)

    max_concurrent_per_timezone: int = Field(
        50, alias="SCHEDULER_MAX_CONCURRENT_PER_TIMEZONE", ge=1, le=90
    )
    max_clock_skew_seconds: float = Field(30, alias="SCHEDULER_MAX_CLOCK_SKEW_SECONDS", ge=0)
    lease_seconds: float = Field(60, alias="SCHEDULER_LEASE_SECONDS", gt=0)
    lease_renewal_seconds: float = Field(15, alias="SCHEDULER_LEASE_RENEWAL_SECONDS", gt=0)
    stall_seconds: float = Field(60, alias="SCHEDULER_STALL_SECONDS", gt=0)
    tick_horizon_seconds: float = Field(120, alias="SCHEDULER_TICK_HORIZON_SECONDS", gt=0, le=125)
    sleep_keeps_slot_seconds: float = Field(60, alias="SCHEDULER_SLEEP_KEEPS_SLOT_SECONDS", ge=0)
    cancel_grace_seconds: float = Field(10, alias="SCHEDULER_CANCEL_GRACE_SECONDS", gt=0)
    retention_days: int = Field(90, alias="SCHEDULER_RETENTION_DAYS", ge=1, le=36_500)
    max_dequeue_count: int = Field(10, alias="SCHEDULER_MAX_DEQUEUE_COUNT", ge=1)
    step_limits: Words = Field(
        alias="SCHEDULER_STEP_LIMITS",
        default=_split("powershell=4,sql=16"),
        validate_default=True,
    )

    connections: Mapping[str, str] = Field(default_factory=dict, repr=False)
    """Connection name, lower case → ODBC connection string (`SCHEDULER_CONNECTION_<NAME>`)."""

    @field_validator("timezones")
    @classmethod
    def _known_zones(cls, zones: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [str(n) for n, zone in enumerate(zones, 1) if not is_declarable(zone)]
        if wrong:
            raise ValueError(
                f"entry {', '.join(wrong)} of the list is no IANA time zone, such as Europe/London"
            )
        return tuple(dict.fromkeys(zones))

    @field_validator("step_limits")
    @classmethod
    def _limit_pairs(cls, pairs: tuple[str, ...]) -> tuple[str, ...]:
        for place, pair in enumerate(pairs, 1):
            name, _, count = pair.partition("=")
            if not name or not count.isdecimal() or int(count) < 1:
                raise ValueError(
                    f"entry {place} of the list is not <step type>=<positive number>, such as sql=4"
                )
        return pairs

    @cached_property
    def limit_by_step_type(self) -> dict[str, int]:
        """Step type → attempts that one instance runs at once."""
        pairs = (pair.partition("=") for pair in self.step_limits)
        return {name: int(count) for name, _, count in pairs}

    @classmethod
    def load(cls, environ: Mapping[str, str]) -> "Settings":
        """Reads the settings from environment variables.

        Raises:
            Misconfigured: naming each wrong variable and why; never its value.
        """
        _refuse_unresolved(environ)
        values: dict[str, Any] = {key: value for key, value in environ.items() if value != ""}
        values["connections"] = {
            key.removeprefix(CONNECTION_PREFIX).lower(): value
            for key, value in environ.items()
            if key.startswith(CONNECTION_PREFIX) and value and not value.startswith(_REFERENCE)
        }
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise Misconfigured(_told(error)) from None


def _told(error: ValidationError) -> str:
    """Names every wrong setting; health shows this text to anyone, so no value is in it."""
    faults = error.errors(include_input=False, include_url=False)
    named = [
        f"the app setting {'.'.join(str(part) for part in fault['loc'])} is wrong: "
        f"{fault['msg'].removeprefix('Value error, ')}"
        for fault in faults
    ]
    return f"{'; '.join(named)}; docs/settings.md tells what each may be"


def _refuse_unresolved(environ: Mapping[str, str]) -> None:
    """A Key Vault reference that did not resolve arrives as its own text: anyone could guess it."""
    for name, value in environ.items():
        if value.startswith(_REFERENCE) and not name.startswith(CONNECTION_PREFIX):
            raise Misconfigured(
                f"the app setting {name} is a Key Vault reference that did not resolve: set the"
                " secret, and let the app's identity read it"
            )
