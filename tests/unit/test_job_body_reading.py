import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from scheduler.api.body import MAX_BYTES, read_body
from scheduler.api.merge_patch import merge_patch
from scheduler.errors import InvalidRequest

JSON = "application/json"
YAML = "application/yaml"

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | TEXTS
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    SCALARS | NUMBERS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_json_objects_are_read_as_they_are(document: dict[str, Any]) -> None:
    assert read_body(json.dumps(document).encode(), JSON) == document


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_yaml_objects_are_read_as_they_are(document: dict[str, Any]) -> None:
    text = yaml.dump(document, default_style='"', Dumper=PlainNumbers, allow_unicode=False)
    assert read_body(text.encode(), YAML) == document


class PlainNumbers(yaml.SafeDumper):
    """Quotes texts, and writes all else plainly and without references."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_scalar(self, tag: str, value: str, style: str | None = None) -> yaml.ScalarNode:
        plain = tag.rpartition(":")[2] in ("int", "float", "bool", "null")
        return super().represent_scalar(tag, value, style="" if plain else '"')


@pytest.mark.parametrize(
    "content_type", [None, "", JSON, "application/merge-patch+json", "TEXT/JSON"]
)
def test_no_content_type_and_json_ones_mean_json(content_type: str | None) -> None:
    assert read_body(b'\xef\xbb\xbf{"a": 1}', content_type) == {"a": 1}


@pytest.mark.parametrize(
    "content_type", [YAML, "text/yaml", "application/x-yaml; charset=UTF-8", "text/x-yaml"]
)
def test_yaml_ones_mean_yaml(content_type: str) -> None:
    assert read_body(b"a: 1", content_type) == {"a": 1}


@pytest.mark.parametrize("value", ["*/5 6 * * *", "* * * * *", "@daily", "*daily", "!x", "%x"])
def test_an_unquoted_value_that_yaml_reads_otherwise_is_told_to_be_quoted(value: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_body(f"a: 1\nschedule:\n  expression: {value}\n".encode(), YAML)
    assert "line 3, column 15" in refusal.value.message
    assert "put quotes around a value that begins with one of * @" in refusal.value.message


def test_yaml_surprises_stay_texts() -> None:
    body = b"on: yes\nday: 2027-01-31\ntime: 12:30:00\nmode: 0777\nmerge:\n  <<: x\nquoted: '1'\n"
    assert read_body(body, YAML) == {
        "on": "yes",
        "day": "2027-01-31",
        "time": "12:30:00",
        "mode": "0777",
        "merge": {"<<": "x"},
        "quoted": "1",
    }


@pytest.mark.parametrize(
    ("body", "content_type", "kind", "code"),
    [
        (b"", JSON, "malformed_body", "malformed_body"),
        (b"  \n", YAML, "malformed_body", "malformed_body"),
        (b'{"a": ', JSON, "malformed_body", "malformed_body"),
        (b"[1]", JSON, "malformed_body", "malformed_body"),
        (b'"x"', JSON, "malformed_body", "malformed_body"),
        (b"null", JSON, "malformed_body", "malformed_body"),
        (b'{"a": "\xff"}', JSON, "malformed_body", "not_utf8"),
        (b"a: \xc3\x28", YAML, "malformed_body", "not_utf8"),
        (b'{"a": 1, "a": 2}', JSON, "malformed_body", "duplicate_name"),
        (b'{"b": [{"a": 1, "a": 1}]}', JSON, "malformed_body", "duplicate_name"),
        (b'{"a": NaN}', JSON, "malformed_body", "malformed_body"),
        (b'{"a": -Infinity}', JSON, "malformed_body", "malformed_body"),
        (b'{"a": 1e999}', JSON, "malformed_body", "malformed_body"),
        (b'{"a": ' + b"9" * 5000 + b"}", JSON, "malformed_body", "malformed_body"),
        (b'{"a": ' + b"[" * 200_000, JSON, "malformed_body", "too_deep"),
        (b'{"a": ' + b"[" * 65 + b"]" * 65 + b"}", JSON, "malformed_body", "too_deep"),
        (b'{"a": "\\u0000"}', JSON, "invalid_request", "invalid_text"),
        (b'{"a": "\\ud800"}', JSON, "invalid_request", "invalid_text"),
        (b'{"\\udfff": 1}', JSON, "invalid_request", "invalid_text"),
        (b"a: [", YAML, "malformed_body", "malformed_body"),
        (b"a: &x 1\nb: *x", YAML, "malformed_body", "malformed_body"),
        (b"a: !!python/name:os.system x", YAML, "malformed_body", "malformed_body"),
        (b"a: 1\na: 2", YAML, "malformed_body", "duplicate_name"),
        (b"1: 2", YAML, "malformed_body", "malformed_body"),
        (b"? [a]\n: 1", YAML, "malformed_body", "malformed_body"),
        (b"a: .nan", YAML, "malformed_body", "malformed_body"),
        (b"a: 1\n---\nb: 2", YAML, "malformed_body", "malformed_body"),
        (b"[" * 100_000, YAML, "malformed_body", "malformed_body"),
        (b"a: \x07", YAML, "malformed_body", "malformed_body"),
        (b"{}", "text/plain", "unsupported_media_type", "unsupported_media_type"),
        (b"{}", "application/xml", "unsupported_media_type", "unsupported_media_type"),
        (b"{}", JSON + "; charset=utf-16", "unsupported_media_type", "unsupported_charset"),
        (b" " * (MAX_BYTES + 1), JSON, "body_too_large", "body_too_large"),
    ],
)
def test_a_bad_body_is_refused_with_a_code(
    body: bytes, content_type: str, kind: str, code: str
) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_body(body, content_type)
    assert (refusal.value.code, refusal.value.errors[0].code) == (kind, code)
    assert len(refusal.value.message) < 300


@given(st.binary(max_size=200), st.sampled_from([JSON, YAML]))
def test_any_bytes_are_an_object_or_a_clean_refusal(body: bytes, content_type: str) -> None:
    try:
        document = read_body(body, content_type)
    except InvalidRequest as refusal:
        assert refusal.errors
    else:
        assert isinstance(document, dict)


def test_the_pointer_of_a_bad_text_is_escaped() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        read_body(b'{"a/b": [{"c~d": "\\u0000"}]}', JSON)
    assert refusal.value.errors[0].pointer == "/a~1b/0/c~0d"


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": None, "d": 3}}, {"a": {"c": 2, "d": 3}}),
        ({"a": [1, {"b": 2}]}, {"a": [1]}, {"a": [1]}),
        ({"a": "x"}, {"a": {"b": {"c": None}}}, {"a": {"b": {}}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1], {"a": None}, {}),
        ({"a": 1}, ["c"], ["c"]),
    ],
)
def test_a_merge_patch_follows_rfc_7396(target: Any, patch: Any, merged: Any) -> None:  # noqa: ANN401
    before = json.dumps(target)
    assert merge_patch(target, patch) == merged
    assert json.dumps(target) == before
