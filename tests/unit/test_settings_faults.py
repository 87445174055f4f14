"""Wrong settings: each is named with what it may be, and none of the values is told."""

import pytest

from scheduler.errors import Misconfigured
from scheduler.settings import Settings


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("SCHEDULER_NAME", "Hunter2", "pattern"),
        ("SCHEDULER_TIMEZONES", "UTC,Hunter2/City", "entry 2 of the list is no IANA time zone"),
        ("SCHEDULER_STEP_LIMITS", "sql=4,Hunter2", "entry 2 of the list is not <step type>="),
        ("SCHEDULER_STEP_LIMITS", "Hunter2=²", "entry 1 of the list"),
        ("SCHEDULER_ADMIN_KEY", "Hunter2", "at least 16 characters"),
        ("SCHEDULER_MAX_CONCURRENT_PER_TIMEZONE", "91.5", "valid integer"),
        ("SCHEDULER_MAX_CONCURRENT_PER_TIMEZONE", "91", "less than or equal to 90"),
        ("SCHEDULER_LEASE_SECONDS", "Hunter2", "valid number"),
    ],
)
def test_a_wrong_setting_is_told_without_its_value(name: str, value: str, told: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.load({name: value})
    text = refused.value.message
    assert text.startswith(f"the app setting {name} is wrong: ")
    assert told in text
    assert "docs/settings.md" in text
    assert "Hunter2" not in text


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(Misconfigured) as refused:
        Settings.load({"SCHEDULER_ADMIN_KEY": "x", "SCHEDULER_LEASE_SECONDS": "y"})
    assert "SCHEDULER_ADMIN_KEY" in refused.value.message
    assert "SCHEDULER_LEASE_SECONDS" in refused.value.message
