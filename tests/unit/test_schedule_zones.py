from importlib.metadata import version
from zoneinfo import TZPATH, ZoneInfo, available_timezones

import pytest

from scheduler.errors import ScheduleError
from scheduler.schedule.cities import CITIES
from scheduler.schedule.windows_zones import WINDOWS_ZONES
from scheduler.schedule.zones import ZONES, resolve_timezone, tzdata_version


def refusal(name: str) -> str:
    with pytest.raises(ScheduleError) as caught:
        resolve_timezone(name)
    assert caught.value.field == "timezone"
    assert caught.value.fault == "unknown_timezone"
    return caught.value.message


def test_every_iana_name_is_found_in_any_case_and_returned_as_iana_writes_it() -> None:
    assert available_timezones() - ZONES == {"Factory"}
    for zone in ZONES:
        assert resolve_timezone(zone.upper()) == zone
        assert resolve_timezone(zone.lower()) == zone


def test_an_alias_stays_a_zone_of_its_own() -> None:
    assert resolve_timezone("us/eastern") == "US/Eastern"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("America/NewYork", "America/New_York"),
        ("America/New York", "America/New_York"),
        ("New York", "America/New_York"),
        ("Europe/Londn", "Europe/London"),
        ("kathmandu", "Asia/Kathmandu"),
        ("Londn", "Europe/London"),
        ("America/Boston", "America/New_York"),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(name: str, meant: str) -> None:
    said = refusal(name)
    assert f"'{name}' is not an IANA time zone; did you mean " in said
    assert meant in said


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        (" Europe/Paris", "Europe/Paris"),
        ("Asia/Peking", "Asia/Shanghai"),
        ("Bombay", "Asia/Kolkata"),
        ("india", "Asia/Kolkata"),
        ("San Francisco", "America/Los_Angeles"),
        ("rio", "America/Sao_Paulo"),
    ],
)
def test_a_city_that_is_no_zone_is_answered_with_its_zone_alone(name: str, meant: str) -> None:
    assert refusal(name) == f"'{name}' is not an IANA time zone; did you mean {meant}?"


def test_every_city_stands_for_a_zone_and_is_none_itself() -> None:
    assert set(CITIES.values()) <= ZONES
    last = {zone.lower().rpartition("/")[2].replace("_", " ") for zone in ZONES}
    assert not {name.lower() for name in CITIES} & last


@pytest.mark.parametrize("name", ["Eastern Standard Time", "eastern standard time"])
def test_a_windows_name_is_answered_with_the_iana_name(name: str) -> None:
    assert refusal(name) == f"'{name}' is a Windows name; write 'America/New_York'"


def test_every_windows_name_stands_for_a_zone_and_is_none_itself() -> None:
    assert set(WINDOWS_ZONES.values()) <= ZONES
    assert not {name.lower() for name in WINDOWS_ZONES} & {zone.lower() for zone in ZONES}


def test_an_offset_is_answered_with_the_zone_whose_sign_is_reversed() -> None:
    assert "or 'Etc/GMT-2' for a fixed offset" in refusal("UTC+2")
    assert "or 'Etc/GMT+5' for a fixed offset" in refusal("-05:00")
    assert "fixed offset" not in refusal("GMT+99")


@pytest.mark.parametrize("name", ["localtime", "Factory", "", "x" * 10_000, "../UTC", "a\x00b"])
def test_what_is_no_place_is_refused(name: str) -> None:
    assert len(refusal(name)) < 300


def test_zone_data_is_that_of_the_pinned_package_and_not_the_systems() -> None:
    assert TZPATH == ()
    year, place = version("tzdata").split(".")[:2]
    assert tzdata_version() == f"{year}{chr(ord('a') + int(place) - 1)}"
    assert ZoneInfo("Asia/Kathmandu").key == "Asia/Kathmandu"
