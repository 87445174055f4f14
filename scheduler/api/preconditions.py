"""`If-Match`, as RFC 9110 has it."""

from scheduler.errors import PreconditionFailed


def check_match(if_match: str | None, version: str | None) -> None:
    """Makes sure that the stored version is one that the caller names; `version=None`: not stored.

    Raises:
        PreconditionFailed: it is not.
    """
    if if_match is None:
        return
    named = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    if version is None or (version not in named and "*" not in named):
        raise PreconditionFailed(
            "If-Match names another version than the stored one: read it again, and repeat the"
            " change on what you then have"
        )
