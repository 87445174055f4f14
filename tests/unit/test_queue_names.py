import re
from zoneinfo import available_timezones

import pytest

from scheduler.dispatch.queue_names import (
    function_name,
    poison_queue_name,
    queue_name,
    relay_queue_name,
    zone_suffix,
)

LONGEST_NAME = "s" * 20
ZONES = sorted(available_timezones())


@pytest.mark.parametrize(
    ("timezone", "queue"),
    [
        ("UTC", "scheduler-tz-utc"),
        ("America/New_York", "scheduler-tz-america-new-york"),
        ("America/Port-au-Prince", "scheduler-tz-america-port-au-prince"),
        ("Etc/GMT+5", "scheduler-tz-etc-gmt-plus-5"),
        ("Etc/GMT-5", "scheduler-tz-etc-gmt-minus-5"),
        ("GMT0", "scheduler-tz-gmt0"),
        ("W-SU", "scheduler-tz-w-su"),
    ],
)
def test_a_zone_has_a_readable_queue_name(timezone: str, queue: str) -> None:
    assert queue_name("scheduler", timezone) == queue


def test_no_two_zones_share_a_queue_or_a_function() -> None:
    assert len(ZONES) > 590
    assert len({queue_name("scheduler", zone) for zone in ZONES}) == len(ZONES)
    assert len({function_name(zone) for zone in ZONES}) == len(ZONES)


def test_every_queue_and_its_poison_queue_has_a_name_that_azure_accepts() -> None:
    for zone in ZONES:
        for queue in (queue_name("abc", zone), queue_name(LONGEST_NAME, zone)):
            for name in (queue, poison_queue_name(queue)):
                assert 3 <= len(name) <= 63
                assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name)


def test_no_zone_takes_the_name_of_the_relay() -> None:
    queues = {queue_name("scheduler", zone) for zone in ZONES}
    assert relay_queue_name("scheduler") == "scheduler-relay"
    assert relay_queue_name("scheduler") not in queues


def test_function_names_are_identifiers() -> None:
    assert function_name("America/New_York") == "tz_america_new_york"
    assert all(function_name(zone).isidentifier() for zone in ZONES)


def test_a_longer_name_than_any_of_today_is_cut_and_stays_its_own() -> None:
    names = [f"America/Argentina/A_City_With_A_Very_Long_Name_{end}" for end in ("One", "Two")]
    first, second = (zone_suffix(name) for name in names)
    assert first != second
    assert all(len(name) <= 32 for name in (first, second))
    assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in (first, second))
