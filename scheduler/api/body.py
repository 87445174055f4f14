"""A request's body → a JSON object, from JSON or YAML, with every surprise refused."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

from scheduler.errors import (
    BodyTooLarge,
    FieldError,
    InvalidRequest,
    MalformedBody,
    UnsupportedMediaType,
)

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
# `curl -d` says form-urlencoded unless told otherwise; what it sends here is JSON.
_CURL_DEFAULT = "application/x-www-form-urlencoded"
_JSON_TYPES = frozenset({"", "application/json", "text/json", _CURL_DEFAULT})
_YAML_TYPES = frozenset({"application/yaml", "application/x-yaml", "text/yaml", "text/x-yaml"})
_SURROGATE = re.compile("[\ud800-\udfff]")
_UTF8 = frozenset({"", "utf-8", "utf8", "us-ascii"})


def read_body(body: bytes, content_type: str | None) -> dict[str, Any]:
    """Reads a body of at most 1 MiB in UTF-8 that holds one object; no content type means JSON.

    Names given twice, NaN and infinities, NUL characters, lone surrogates and more than 64 levels
    are refused, in YAML also anchors, aliases and tags.

    Raises:
        BodyTooLarge: over 1 MiB.
        UnsupportedMediaType: neither JSON nor YAML, or a charset other than UTF-8.
        MalformedBody: the body is not what its content type says, or no object.
        InvalidRequest: a text in it holds characters that cannot be stored; names each.
    """
    if len(body) > MAX_BYTES:
        raise BodyTooLarge.of("", "body_too_large", f"the body is over {MAX_BYTES} bytes (1 MiB)")
    is_yaml = _is_yaml(content_type)
    text = _decode(body)
    if not text.strip():
        raise _malformed("the body is empty; send a JSON object")
    document = _read_yaml(text) if is_yaml else _read_json(text)
    if not isinstance(document, dict):
        raise _malformed(f"the body must be an object, not {_kind(document)}")
    faults = list(_bad_texts(document, "", 0))
    if faults:
        raise InvalidRequest(faults)
    return document


def pointer(parent: str, part: str | int) -> str:
    """The JSON pointer of a member, escaped as RFC 6901 says."""
    return f"{parent}/{str(part).replace('~', '~0').replace('/', '~1')}"


def _is_yaml(content_type: str | None) -> bool:
    kind, *parameters = (part.strip().lower() for part in (content_type or "").split(";"))
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in _UTF8:
            raise UnsupportedMediaType.of(
                "", "unsupported_charset", "the body's charset must be utf-8"
            )
    if kind in _YAML_TYPES or kind.endswith("+yaml"):
        return True
    if kind in _JSON_TYPES or kind.endswith("+json"):
        return False
    raise UnsupportedMediaType.of(
        "",
        "unsupported_media_type",
        f"the content type {kind[:100]} is not read here; send application/json or "
        "application/yaml",
    )


def _decode(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _malformed(
            f"the body is not UTF-8: byte {error.start} is 0x{body[error.start]:02x}", "not_utf8"
        ) from None


def _read_yaml(text: str) -> Any:  # noqa: ANN401
    # Few send YAML, and every cold start would pay for its library.
    from scheduler.api.yaml_body import read_yaml

    return read_yaml(text, max_depth=MAX_DEPTH)


def _read_json(text: str) -> Any:  # noqa: ANN401
    try:
        return json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_no_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except json.JSONDecodeError as error:
        raise _malformed(
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise _too_deep() from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        twice = next(name for name, count in counts.items() if count > 1)
        raise _malformed(f"the name {twice[:100]!r} is given twice in one object", "duplicate_name")
    return result


def _no_constant(word: str) -> Any:  # noqa: ANN401
    raise _malformed(f"{word} is not a JSON number")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _malformed(f"the number {text[:40]} is too large")
    return value


def _int(text: str) -> int:
    if len(text) > 40:
        raise _malformed(f"the number {text[:40]}… has too many digits")
    return int(text)


def _bad_texts(value: Any, where: str, depth: int) -> Iterable[FieldError]:  # noqa: ANN401
    if depth > MAX_DEPTH:
        raise _too_deep()
    if isinstance(value, str):
        yield from _bad_text(value, where)
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _bad_text(name, where)
            yield from _bad_texts(item, pointer(where, name), depth + 1)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _bad_texts(item, pointer(where, place), depth + 1)


def _bad_text(text: str, where: str) -> Iterable[FieldError]:
    if "\x00" in text:
        yield FieldError(where, "invalid_text", "holds a NUL character, which cannot be stored")
    elif _SURROGATE.search(text):
        yield FieldError(where, "invalid_text", "holds half of a surrogate pair, which is no text")


def _too_deep() -> MalformedBody:
    return _malformed(f"the body is nested more than {MAX_DEPTH} levels deep", "too_deep")


def _malformed(message: str, code: str = "malformed_body") -> MalformedBody:
    return MalformedBody([FieldError("", code, message)], message=message)


def _kind(value: object) -> str:
    if isinstance(value, list):
        return "an array"
    if value is None:
        return "null"
    return "a text" if isinstance(value, str) else "a number or truth value"
