import json
from base64 import b64encode
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.dispatch.ids import ExecutionId, manual_id
from scheduler.dispatch.messages import MAX_BYTES, Message, MessageKind, decode
from scheduler.errors import UnreadableMessage

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
RUN = ExecutionId("job.20261123T020000Z")

instants = st.datetimes(timezones=st.just(UTC))
texts = st.text(max_size=60)
starts = st.builds(
    Message,
    kind=st.just(MessageKind.START),
    execution_id=st.just(RUN),
    due=st.none() | instants,
    etag=st.none() | texts,
    revision=st.none() | texts,
    traceparent=st.none() | texts,
)
steps = st.builds(
    Message,
    kind=st.just(MessageKind.STEP),
    execution_id=st.just(RUN),
    step=texts,
    attempt=st.none() | st.integers(1, 99),
    traceparent=st.none() | texts,
)
nudges = st.builds(Message, kind=st.just(MessageKind.NUDGE), queue=texts)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
garbled = st.fixed_dictionaries(
    {"v": st.just(1)},
    optional={
        "kind": st.sampled_from([*MessageKind, "other", None, 3]),
        "execution_id": st.sampled_from([RUN, "job", "a/b.20261123T020000Z", 7, None]),
        "step": json_values,
        "attempt": json_values,
        "due": json_values,
        "etag": json_values,
        "queue": json_values,
    },
)


@given(starts | steps | nudges)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert decode(message.encode()) == message


def test_the_largest_message_stays_under_a_kibibyte_as_base64() -> None:
    message = Message(
        kind=MessageKind.STEP,
        execution_id=manual_id("j" * 64, NOW),
        step="s" * 64,
        attempt=10_000,
        due=NOW.replace(microsecond=123_456),
        etag="W/\"datetime'2026-11-23T02%3A00%3A00.1234567Z'\"",
        revision="r" * 12,
        traceparent="00-" + "0" * 32 + "-" + "0" * 16 + "-01",
    )
    assert len(b64encode(message.encode().encode())) < MAX_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no JSON",
        "[]",
        "1",
        "null",
        "{}",
        '{"v":2,"kind":"start","execution_id":"job.20261123T020000Z"}',
        '{"v":1}',
        '{"v":1,"kind":"start"}',
        '{"v":1,"kind":"dance","execution_id":"job.20261123T020000Z"}',
        '{"v":1,"kind":"start","execution_id":"job"}',
        '{"v":1,"kind":"start","execution_id":"../x.20261123T020000Z"}',
        '{"v":1,"kind":"start","execution_id":"job.20261323T020000Z"}',
        '{"v":1,"kind":"start","execution_id":"job.20261123T020000Z","due":"soon"}',
        '{"v":1,"kind":"step","execution_id":"job.20261123T020000Z"}',
        '{"v":1,"kind":"step","execution_id":"job.20261123T020000Z","step":7}',
        '{"v":1,"kind":"nudge"}',
    ],
)
def test_what_is_no_message_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(UnreadableMessage) as refusal:
        decode(text)
    assert refusal.value.message.startswith("the message ")


@given(st.text() | json_values.map(json.dumps) | garbled.map(json.dumps))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        message = decode(text)
    except UnreadableMessage:
        return
    assert message.queue is not None or message.execution_id == RUN


def test_fields_that_a_later_version_adds_are_ignored() -> None:
    fields = {"v": 1, "kind": "start", "execution_id": RUN, "colour": "red"}
    assert decode(json.dumps(fields)) == Message(kind=MessageKind.START, execution_id=RUN)


def test_a_due_instant_without_an_offset_is_unreadable() -> None:
    text = Message(
        kind=MessageKind.START,
        execution_id=RUN,
        due=NOW.replace(tzinfo=None),
    ).encode()
    with pytest.raises(UnreadableMessage, match="no offset"):
        decode(text)
