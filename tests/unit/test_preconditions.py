"""`If-Match` and `If-None-Match`: which stored versions they let through."""

import pytest

from scheduler.api.preconditions import check_match, check_none_match, is_named
from scheduler.errors import PreconditionFailed


@pytest.mark.parametrize("tags", [None, "*", '"a"', 'W/"a"', '"b", "a"'])
def test_if_match_lets_the_named_version_through(tags: str | None) -> None:
    check_match(tags, '"a"')
    check_match(tags, 'W/"a"')


@pytest.mark.parametrize(
    ("tags", "version"), [('"b"', '"a"'), ("*", None), ('"a"', None), ("", '"a"')]
)
def test_if_match_stops_any_other(tags: str, version: str | None) -> None:
    with pytest.raises(PreconditionFailed, match="If-Match"):
        check_match(tags, version)


@pytest.mark.parametrize("tags", ["*", '"a"', 'W/"a"', '"b", "a"'])
def test_if_none_match_stops_the_named_version(tags: str) -> None:
    assert is_named(tags, '"a"')
    with pytest.raises(PreconditionFailed, match="If-None-Match"):
        check_none_match(tags, '"a"')


@pytest.mark.parametrize(
    ("tags", "version"), [(None, '"a"'), ('"b"', '"a"'), ("*", None), ('"a"', None), (None, None)]
)
def test_if_none_match_lets_any_other_through(tags: str | None, version: str | None) -> None:
    assert not is_named(tags, version)
    check_none_match(tags, version)
