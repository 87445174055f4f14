"""Refused schedules: each message shows what was found and says what to write instead."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.api.job_body import parse_job
from scheduler.errors import FieldError, InvalidRequest, ScheduleError
from scheduler.schedule.cron import Cron
from scheduler.schedule.once import resolve_once
from scheduler.schedule.triggers import parse_interval
from scheduler.schedule.zones import ABBREVIATIONS, ZONES, resolve_timezone
from steps.registry import Registry

NOW = datetime(2026, 11, 24, tzinfo=UTC)
READERS: dict[str, Callable[[str], object]] = {
    "cron": Cron.parse,
    "interval": parse_interval,
    "once": lambda text: resolve_once(text, "America/New_York"),
}
NUMBER = "write '*', a number from"
FIELDS = "write 5 (minute hour day-of-month month day-of-week), or 6 with a leading second"

CRON = [
    ("0 0 ? * MON", "day-of-month: '?' cannot be read; write '*' instead"),
    ("0 0 15W * *", "day-of-month: '15W' cannot be read; write a day from 1 to 31, or MON-FRI"),
    ("0 0 LW * *", "day-of-month: 'LW' cannot be read; write a day from 1 to 31, or MON-FRI"),
    ("0 0 * * L", "day-of-week: 'L' cannot be read; write SAT for Saturday; L means the last day"),
    ("0 0 * * 5L", "day-of-week: '5L' cannot be read; write FRI#4 for the month's fourth FRI"),
    ("0 0 * * monL", "day-of-week: 'monL' cannot be read; write MON#4"),
    ("0 0 * * L-3", "day-of-week: 'L-3' cannot be read; write FRI#4"),
    ("0 0 L-3 * *", "day-of-month: 'L-3' cannot be read; write L by itself"),
    ("0 L * * *", "hour: 'L' cannot be read; L means the last day of the month, in day-of-month"),
    ("H 0 * * *", "minute: 'H' cannot be read; write a fixed value; jitter_seconds spreads"),
    ("0 H/2 * * *", "hour: 'H/2' cannot be read; write a fixed value"),
    ("R(0-9) 0 * * *", "minute: 'R(0-9)' cannot be read; write a fixed value"),
    ("0 0 30 2 *", "day-of-month: '30' never comes in month '2'; write a day that the month"),
    ("0 0 31 4,6 *", "day-of-month: '31' never comes in month '4,6'"),
    ("61 * * * *", f"minute: '61' cannot be read; {NUMBER} 0 to 59"),
    ("60 * * * * *", f"second: '60' cannot be read; {NUMBER} 0 to 59"),
    ("0 24 * * *", "hour: '24' cannot be read; write 0 for midnight; hours go from 0 to 23"),
    ("0 0 0 * *", f"day-of-month: '0' cannot be read; {NUMBER} 1 to 31"),
    ("0 0 32 * *", f"day-of-month: '32' cannot be read; {NUMBER} 1 to 31"),
    ("0 0 * 13 *", f"month: '13' cannot be read; {NUMBER} 1 to 12 or a name like JAN"),
    ("0 0 * * 8", f"day-of-week: '8' cannot be read; {NUMBER} 0 to 7 or a name like SUN"),
    ("0 0 1 1 * * 2027", "7 fields found: there is no year field; use start_at and end_at"),
    ("* * * *", f"4 fields found; {FIELDS}"),
    ("*", f"1 field found; {FIELDS}"),
    ("1d", f"1 field found; {FIELDS}; '1d' looks like an interval: write type interval"),
    ("2h 30m", "'2h 30m' looks like an interval: write type interval"),
    ("", f"the expression is empty; {FIELDS}, like '30 2 * * *'"),
    (" \t\n ", "the expression is empty"),
    ("0 0 * * * " + "1," * 145, "the expression has 300 characters; the longest allowed is 256"),
    ("*/0 * * * *", "minute: '*/0' cannot be read; a step is a whole number from 1, like */5"),
    ("1-5/0 * * * *", "minute: '1-5/0' cannot be read; a step is"),
    ("*/ * * * *", "minute: '*/' cannot be read; a step is"),
    ("*/1.5 * * * *", "minute: '*/1.5' cannot be read; a step is"),
    ("1,,2 * * * *", "minute: '1,,2' cannot be read; an item of its list is empty"),
    (",1 * * * *", "minute: ',1' cannot be read; an item of its list is empty"),
    ("1, * * * *", "minute: '1,' cannot be read; an item of its list is empty"),
    ("0 0 * * MON#6", "day-of-week: 'MON#6' cannot be read; write a day and a week of the month"),
    ("0 0 * * MON#0", "day-of-week: 'MON#0' cannot be read; write a day and a week"),
    ("0 0 * * MON#L", "day-of-week: 'MON#L' cannot be read; write a day and a week"),
    ("0 0 * * #1", "day-of-week: '#1' cannot be read; write a day and a week"),
    ("0 0 * * 1#1#1", "day-of-week: '1#1#1' cannot be read; write a day and a week"),
    ("0 0 * * MON-FRI#1", "day-of-week: 'MON-FRI#1' cannot be read; write a day and a week"),
    ("0 0 1#1 * *", "day-of-month: '1#1' cannot be read; # stands in day-of-week only"),
    ("0 0 * * MOM", "day-of-week: 'MOM' cannot be read; did you mean MON? The names are SUN MON"),
    ("0 0 * JAM *", "month: 'JAM' cannot be read; did you mean JAN?"),
    ("0 0 * * XYZ", "day-of-week: 'XYZ' cannot be read; write '*'"),
    ("0 0 * * Monday", "day-of-week: 'Monday' cannot be read; names have three letters: write MON"),
    ("0 0 * SEPT *", "month: 'SEPT' cannot be read; names have three letters: write SEP"),
    ("0 0 MON * *", "day-of-month: 'MON' cannot be read; MON belongs in the field day-of-week"),
    ("0 0 * MON *", "month: 'MON' cannot be read; MON belongs in the field day-of-week, the last"),
    ("0 0 * * JAN", "day-of-week: 'JAN' cannot be read; JAN belongs in the field month"),
    ("@reboot", "'@reboot' is not known; nothing restarts here: write a time, or run the job"),
    ("@midnight", "'@midnight' is not known; write @daily"),
    ("@annually", "'@annually' is not known; write @yearly"),
    ("@every 5m", "'@every' is not known; write a schedule of type interval"),
    ("@hourl", "'@hourl' is not known; write @hourly"),
    ("@fortnight", "'@fortnight' is not known; write one of @hourly, @daily, @weekly"),
    ("@daily 5", "@daily stands alone; take out '5'"),
    ("TZ=UTC 0 0 * * *", "'TZ=UTC': the zone is the job's field timezone; take this out"),
    ("٣ * * * *", "minute: '٣' cannot be read; '٣' (U+0663 ARABIC-INDIC DIGIT THREE) does not"),
    ("0 \uff14 * * *", "(U+FF14 FULLWIDTH DIGIT FOUR) does not belong here; write '4'"),
    ("0\x00 * * * *", r"minute: '0\x00' cannot be read; the invisible U+0000 does not belong here"),
    ("0\x00* * * *", r"'0\x00* * * *' cannot be read; the invisible U+0000"),
    ("0\u00a00 * * *", r"'0\xa00 * * *' cannot be read; the invisible U+00A0 NO-BREAK SPACE"),
    ("0 0 * * *\u200b", r"day-of-week: '*\u200b' cannot be read; the invisible U+200B"),
    ("5\u221210 * * * *", "(U+2212 MINUS SIGN) does not belong here; write '-'"),
    ("5\u201310 * * * *", "(U+2013 EN DASH) does not belong here; write '-'"),
    ("+5 * * * *", f"minute: '+5' cannot be read; {NUMBER} 0 to 59"),
    ("-5 * * * *", f"minute: '-5' cannot be read; {NUMBER} 0 to 59"),
    ("1-2-3 * * * *", "minute: '1-2-3' cannot be read"),
    ("1.5 * * * *", "minute: '1.5' cannot be read"),
    ("0x10 * * * *", "minute: '0x10' cannot be read"),
    ("5-* * * * *", "minute: '5-*' cannot be read"),
    ("9:30 * * * *", "minute: '9:30' cannot be read"),
    ("9" * 200 + " * * * *", f"minute: '{'9' * 64}…' cannot be read; {NUMBER} 0 to 59"),
    ("0 0 * * '", 'day-of-week: "\'" cannot be read'),
]
INTERVAL = [
    ("0s", "'0s' is out of range; write an interval from 1s to 3653d (10 years)"),
    ("PT0S", "out of range"),
    ("3653d 1s", "out of range"),
    ("9" * 30 + "s", "out of range"),
    ("-1h", "'-1h' is negative; write an interval from 1s to 3653d"),
    ("-PT1H", "negative"),
    ("P-1D", "negative"),
    ("1h -5m", "negative"),
    ("90", "'90' has a number without unit; write s, m, h or d behind it, like 90s"),
    ("1d 2", "has a number without unit"),
    ("1.5h", "'1.5h' is not in whole seconds; write whole numbers, like 1h 30m"),
    ("PT0.5S", "whole seconds"),
    ("P1M", "'P1M' counts months or years, which have no fixed length; write days, or type cron"),
    ("P1Y2M", "no fixed length"),
    ("11y", "no fixed length"),
    ("1w", "'1w' counts weeks; write them in days, 7d for one"),
    ("1h 1d", "'1h 1d' has a unit twice or out of order; write d, h, m, s in this order"),
    ("1h 1h", "a unit twice"),
    ("P1H", "'P1H' has its T in the wrong place, it goes before the hours"),
    ("PT1D", "T in the wrong place"),
    ("1 h", "'1 h' has a blank or comma too many; write like 1d 2h 30m"),
    ("5 minutes", "'5 minutes' has other units; write d, h, m or s right behind each number"),
    ("5min", "other units"),
    ("*/5 * * * *", "looks like cron; write type cron, or an interval like 1h 30m"),
    ("", "'' is no interval; write like '1d 2h 30m 15s' or 'P1DT2H30M15S'"),
    ("P", "is no interval"),
    ("PT", "is no interval"),
    ("every hour", "is no interval"),
    ("00:30:00", "is no interval"),
    ("٣h", "'٣h' cannot be read; '٣' (U+0663 ARABIC-INDIC DIGIT THREE) does not belong here"),
    ("1h\x00", r"'1h\x00' cannot be read; the invisible U+0000"),
    ("9" * 5000 + "s", "…' is no interval"),
]
ONCE = [
    ("2027-03-14", "'2027-03-14': the time of day is missing; write like 2027-03-14T02:30:00"),
    ("2027-02-30T10:00", "'2027-02-30T10:00': 2027-02 has no day 30; write one from 01 to 28"),
    ("2027-04-31T10:00", "2027-04 has no day 31; write one from 01 to 30"),
    ("2027-01-00T10:00", "2027-01 has no day 00"),
    ("2027-13-01T10:00", "there is no month 13; write one from 01 to 12"),
    ("2027-03-14T24:00", "write T00:00 of the next day for midnight; hours go from 00 to 23"),
    ("2027-03-14T25:00", "there is no hour 25; write one from 00 to 23"),
    ("2027-03-14T10:60", "there is no minute 60; write one from 00 to 59"),
    ("2027-03-14T23:59:60Z", "there is no second 60; write one from 00 to 59"),
    ("2027-03-14T10:00+25:00", "no clock has this offset; write one from -14:00 to +14:00"),
    ("2027-03-14T10:00+01:99", "no clock has this offset"),
    ("2027-03-14T10:00-14:01", "no clock has this offset"),
    ("0000-01-01T00:00", "write a year from 1901 to 9899"),
    ("1900-01-01T00:00", "write a year from 1901 to 9899"),
    ("0001-01-01T00:00+14:00", "write a year from 1901 to 9899"),
    ("9999-12-31T23:59", "write a year from 1901 to 9899"),
    ("10000-01-01T00:00", "write a date and time like 2027-03-14T02:30:00"),
    ("20270101T1000", "write a date and time like"),
    ("03/14/2027 10:00", "write a date and time like"),
    ("2027-03-14T10:00+1", "write a date and time like"),
    ("2027-03-14T10:00 EST", "the zone is the job's field timezone; take out 'EST'"),
    ("2027-03-14T10:00[Europe/Paris]", "take out '[Europe/Paris]'"),
    ("tomorrow", "'tomorrow': write a date and time like 2027-03-14T02:30:00, or with an offset"),
    ("", "'': write a date and time like"),
    ("2027-03-14T10:00\u221205:00", "(U+2212 MINUS SIGN) does not belong here; write '-'"),
    ("x" * 5000, "write a date and time like"),
]
ZONE = [
    ("America/NewYork", "'America/NewYork' is not an IANA time zone; did you mean America/New_Yo"),
    ("São Paulo", "did you mean America/Sao_Paulo?"),
    ("Eastern Standard Time", "is a Windows name; write 'America/New_York'"),
    ("Romance Daylight Time", "is a Windows name; write 'Europe/Paris'"),
    ("PDT", "'PDT' is an abbreviation, not a zone; write 'America/Los_Angeles'"),
    ("ist", "an abbreviation, not a zone; write 'Asia/Kolkata' or 'Europe/Dublin' or"),
    ("UTC+2", "is an offset, not a zone; write a place like 'Europe/Paris', or 'Etc/GMT-2'"),
    ("+05:30", "'+05:30' is an offset, not a zone; write a place like 'Europe/Paris'"),
    ("", "the time zone is empty; write a name like 'America/New_York' or 'UTC'"),
    ("  ", "the time zone is empty"),
    ("localtime", "'localtime' is not an IANA time zone; write a name like"),
    ("a\x00b", r"'a\x00b' is not an IANA time zone"),
    ("x" * 10_000, "is not an IANA time zone; write a name like"),
]


def refusal(kind: str, text: str) -> FieldError:
    with pytest.raises(ScheduleError) as caught:
        READERS[kind](text)
    assert isinstance(caught.value, InvalidRequest)
    assert isinstance(caught.value, ValueError)
    (error,) = caught.value.errors
    assert (error.pointer, error.code) == ("/expression", f"invalid_{kind}")
    assert len(error.message) < 250
    assert error.message.isprintable()
    return error


@pytest.mark.parametrize(("text", "said"), CRON)
def test_a_refused_cron_expression(text: str, said: str) -> None:
    assert said in refusal("cron", text).message


@pytest.mark.parametrize(("text", "said"), INTERVAL)
def test_a_refused_interval(text: str, said: str) -> None:
    assert said in refusal("interval", text).message


@pytest.mark.parametrize(("text", "said"), ONCE)
def test_a_refused_single_time(text: str, said: str) -> None:
    assert said in refusal("once", text).message


@pytest.mark.parametrize(("name", "said"), ZONE)
def test_a_refused_zone(name: str, said: str) -> None:
    with pytest.raises(ScheduleError) as caught:
        resolve_timezone(name)
    assert (caught.value.field, caught.value.fault) == ("timezone", "unknown_timezone")
    assert said in caught.value.message
    assert len(caught.value.message) < 250


def test_abbreviations_are_no_zones_and_stand_for_some() -> None:
    assert not {name.lower() for name in ABBREVIATIONS} & {zone.lower() for zone in ZONES}
    assert {place for places in ABBREVIATIONS.values() for place in places} <= ZONES


@pytest.mark.parametrize(
    ("kind", "text"),
    [("cron", "61 * * * *"), ("interval", "0s"), ("once", "2027-02-30T10:00")],
)
def test_a_job_with_it_is_refused_at_its_expression(kind: str, text: str) -> None:
    step: dict[str, Any] = {"type": "sql", "connection_name": "main", "query": "select 1"}
    document = {"name": "n", "steps": [step], "schedule": {"type": kind, "expression": text}}
    with pytest.raises(InvalidRequest) as caught:
        parse_job(document, registry=Registry.discover(), now=NOW, new_id=lambda: "made")
    (error,) = caught.value.errors
    assert (error.pointer, error.code) == ("/schedule/expression", f"invalid_{kind}")
    assert error.message == refusal(kind, text).message


CHARACTERS = st.one_of(
    st.sampled_from([*"0123456789*/-,#LW?@ \tTZPDHMS:.+", "MON", "jan", "\x00", "\u2212"]),
    st.characters(),
)


@given(st.sampled_from(sorted(READERS)), st.lists(CHARACTERS, max_size=40).map("".join))
@example("cron", "0 0 * * \ud800")
def test_any_text_is_read_or_refused_readably(kind: str, text: str) -> None:
    try:
        READERS[kind](text)
    except ScheduleError as refused:
        assert refused.message.isprintable()
        assert len(refused.message) < 400
