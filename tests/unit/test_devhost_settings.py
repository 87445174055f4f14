"""host.json, setting references, timer schedules and log lines of the dev host."""

import logging
from datetime import UTC, datetime, timedelta

import pytest

from tools.devhost.errors import AppFailed
from tools.devhost.hostfile import HostFile, QueueOptions, overridden, resolved, seconds
from tools.devhost.log import KeyValueFormatter
from tools.devhost.schedule import Schedule

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)  # a Sunday


def test_host_json_without_values_takes_the_hosts_defaults() -> None:
    assert HostFile.parse({"version": "2.0"}) == HostFile("api", QueueOptions(16, 8, 5, 0, 60))


def test_host_json_sets_prefix_and_queue_options() -> None:
    queues = {
        "batchSize": 32,
        "newBatchThreshold": 1,
        "maxDequeueCount": 10,
        "visibilityTimeout": "00:00:30",
        "maxPollingInterval": "00:00:02",
        "messageEncoding": "none",
    }
    content = {"extensions": {"http": {"routePrefix": ""}, "queues": queues}}
    assert HostFile.parse(content) == HostFile("", QueueOptions(32, 1, 10, 30, 2, base64=False))


def test_the_environment_overrides_single_values_of_host_json() -> None:
    content = {"extensions": {"queues": {"batchSize": 2, "maxDequeueCount": 7}}}
    environ = {"AzureFunctionsJobHost__extensions__queues__batchSize": "3", "OTHER": "x"}
    read = HostFile.parse(overridden(content, environ)).queues
    assert (read.batch_size, read.max_dequeue_count) == (3, 7)


def test_a_batch_over_32_is_refused() -> None:
    with pytest.raises(ValueError, match="batchSize"):
        HostFile.parse({"extensions": {"queues": {"batchSize": 33}}})


@pytest.mark.parametrize(
    ("span", "expected"), [("00:00:30", 30), ("1.02:00:00", 93600), ("00:00:00.250", 0.25)]
)
def test_time_spans_are_read(span: str, expected: float) -> None:
    assert seconds(span) == expected


@pytest.mark.parametrize("span", ["30", "", "00:30", "-00:00:01"])
def test_other_text_is_no_time_span(span: str) -> None:
    with pytest.raises(ValueError, match="no time span"):
        seconds(span)


def test_settings_are_put_in_and_a_missing_one_is_named() -> None:
    assert resolved("%A%-tz-%B%", {"A": "x", "B": "y"}) == "x-tz-y"
    with pytest.raises(AppFailed, match="setting B,"):
        resolved("%A%-tz-%B%", {"A": "x", "B": ""})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 * * * * *", NOON + timedelta(minutes=1)),
        ("30 * * * * *", NOON + timedelta(seconds=30)),
        ("*/5 * * * *", NOON + timedelta(minutes=5)),
        ("0 0 9-17 * * MON-FRI", NOON + timedelta(hours=21)),
        ("0 0 0 13 * 5", datetime(2026, 3, 13, tzinfo=UTC)),
        ("0 0 0 13 * 1", datetime(2026, 4, 13, tzinfo=UTC)),
        ("00:00:05", NOON + timedelta(seconds=5)),
    ],
)
def test_a_schedule_tells_its_next_occurrence(text: str, expected: datetime) -> None:
    assert Schedule(text).next(NOON) == expected


@pytest.mark.parametrize("text", ["", "every minute", "0 * * * * * *", "99 * * * * *", "1:2"])
def test_a_schedule_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(AppFailed, match="cannot be read"):
        Schedule(text)


def test_a_log_line_carries_the_records_extra_keys() -> None:
    record = logging.makeLogRecord(
        {
            "name": "scheduler.tick",
            "levelname": "INFO",
            "msg": "%d runs sent\nmore",
            "args": (2,),
            "created": 0.5,
            "action": "tick_done",
            "late": 1.5,
            "zone": 'a "b"',
        }
    )
    assert KeyValueFormatter().format(record) == (
        "1970-01-01T00:00:00.500Z INFO scheduler.tick 2 runs sent "
        'action=tick_done late=1.5 zone="a \\"b\\""\nmore'
    )
