"""`timezones`: every zone by region, its offset now and its next clock change."""

from datetime import UTC, datetime
from typing import Any

import pytest

from scheduler.api.timezones import Timezones
from scheduler.schedule.zones import ZONES
from tests.app.exchange import TIMEZONES, check_fault, check_problem, check_success
from tests.app.live_app import LiveApp
from tests.storage.wire import ManualClock


def clock_at(text: str) -> ManualClock:
    """A clock that stands still until it is moved."""
    return ManualClock(datetime.fromisoformat(text).astimezone(UTC))


def names(reply: dict[str, Any]) -> list[str]:
    """The zones of a reply."""
    return [zone["timezone"] for region in reply["timezones"].values() for zone in region]


async def zone(clock: ManualClock, name: str) -> dict[str, Any]:
    """One zone as of the clock."""
    reply = await Timezones(clock).list({"search": name})
    return next(entry for group in reply["timezones"].values() for entry in group)


def test_every_zone_is_listed_under_its_region(live: LiveApp) -> None:
    reply = check_success(live.call("GET", TIMEZONES))
    assert set(reply) == {"success", "message", "timezones", "count", "tzdata"}
    assert sorted(names(reply)) == sorted(ZONES)
    assert reply["count"] == len(ZONES)
    assert "America/Argentina/Ushuaia" in {one["timezone"] for one in reply["timezones"]["America"]}
    assert "UTC" in {one["timezone"] for one in reply["timezones"]["Other"]}
    assert list(reply["timezones"])[-1] == "Other"


async def test_a_zone_tells_its_offset_and_next_change() -> None:
    clock = clock_at("2026-11-24T02:00:00Z")
    assert await zone(clock, "America/New_York") == {
        "timezone": "America/New_York",
        "offset": "-05:00",
        "abbreviation": "EST",
        "next_change": {
            "utc": "2027-03-14T07:00:00Z",
            "local_before": "2027-03-14T02:00:00-05:00",
            "local_after": "2027-03-14T03:00:00-04:00",
            "offset_before": "-05:00",
            "offset_after": "-04:00",
            "abbreviation_after": "EDT",
        },
    }


@pytest.mark.parametrize(
    ("name", "now", "utc", "offsets"),
    [
        (
            "Australia/Lord_Howe",
            "2027-01-01T00:00:00Z",
            "2027-04-03T15:00:00Z",
            ("+11:00", "+10:30"),
        ),
        ("Antarctica/Troll", "2027-01-01T00:00:00Z", "2027-03-28T01:00:00Z", ("+00:00", "+02:00")),
        ("Pacific/Apia", "2011-12-01T00:00:00Z", "2011-12-30T10:00:00Z", ("-10:00", "+14:00")),
        ("Europe/Dublin", "2027-01-01T00:00:00Z", "2027-03-28T01:00:00Z", ("+00:00", "+01:00")),
        ("Asia/Beirut", "2027-01-01T00:00:00Z", "2027-03-27T22:00:00Z", ("+02:00", "+03:00")),
    ],
)
async def test_odd_changes_are_found(
    name: str, now: str, utc: str, offsets: tuple[str, str]
) -> None:
    change = (await zone(clock_at(now), name))["next_change"]
    assert change["utc"] == utc
    assert (change["offset_before"], change["offset_after"]) == offsets


async def test_a_zone_without_a_change_within_two_years_has_none() -> None:
    for name in ("Asia/Tokyo", "Etc/GMT+5"):
        assert (await zone(clock_at("2026-11-24T02:00:00Z"), name))["next_change"] is None


async def test_the_table_is_kept_for_an_hour_but_not_past_a_clock_change() -> None:
    clock = clock_at("2027-03-14T06:30:00Z")
    zones = Timezones(clock)

    async def now_in_new_york() -> tuple[str, bool]:
        (entry,) = (await zones.list({"search": "america/new_york"}))["timezones"]["America"]
        return entry["abbreviation"], entry["next_change"]["utc"].startswith("2027-03-14")

    assert await now_in_new_york() == ("EST", True)
    clock.advance(29 * 60)
    assert await now_in_new_york() == ("EST", True)
    clock.advance(60)
    assert await now_in_new_york() == ("EDT", False)


def test_region_and_search_filter_in_any_case(live: LiveApp) -> None:
    europe = check_success(live.call("GET", f"{TIMEZONES}?region=europe"))
    assert set(europe["timezones"]) == {"Europe"}
    assert europe["count"] == len(names(europe)) > 50
    york = check_success(live.call("GET", f"{TIMEZONES}?search=new+york"))
    assert (names(york), york["message"]) == (["America/New_York"], "1 time zone")
    other = check_success(live.call("GET", f"{TIMEZONES}?region=Other&search=gmt"))
    assert "GMT" in names(other)
    assert not [name for name in names(other) if "/" in name]
    nothing = check_success(live.call("GET", f"{TIMEZONES}?region=Asia&search=york"))
    assert (nothing["timezones"], nothing["count"]) == ({}, 0)


def test_unknown_regions_and_parameters_are_refused(live: LiveApp) -> None:
    message = check_fault(live.call("GET", f"{TIMEZONES}?region=Europa"), "", "unknown_region")
    assert "did you mean 'Europe'?" in message
    message = check_fault(live.call("GET", f"{TIMEZONES}?serch=x"), "", "unknown_parameter")
    assert "did you mean 'search'?" in message
    repeated = live.call("GET", f"{TIMEZONES}?search=a&search=b")
    assert "search is given 2 times" in check_fault(repeated, "", "repeated_parameter")
    check_problem(live.call("GET", TIMEZONES, key=None), 401, "not_authenticated")


def test_viewers_may_look(live: LiveApp) -> None:
    check_success(live.call("GET", f"{TIMEZONES}?search=utc", key=live.make_key("viewer")))
