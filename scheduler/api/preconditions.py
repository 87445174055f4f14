"""`If-Match` and `If-None-Match`, as RFC 9110 has them."""

from scheduler.errors import PreconditionFailed


def check_match(if_match: str | None, version: str | None) -> None:
    """Makes sure that the stored version is one that the caller names; `version=None`: not stored.

    Raises:
        PreconditionFailed: it is not.
    """
    if if_match is not None and not _names(if_match, version):
        raise PreconditionFailed(
            "If-Match names another version than the stored one: read it again, and repeat the"
            " change on what you then have"
        )


def check_none_match(if_none_match: str | None, version: str | None) -> None:
    """Makes sure that the stored version is none that the caller names; `*` names every one.

    Raises:
        PreconditionFailed: it is one of them.
    """
    if is_named(if_none_match, version):
        raise PreconditionFailed(
            "If-None-Match names the stored version: with * a job is only created, and one of this"
            " id is there already; leave the header out to replace it"
        )


def is_named(if_none_match: str | None, version: str | None) -> bool:
    """Whether the caller has named the stored version: a reader has it already, and gets a 304."""
    return if_none_match is not None and _names(if_none_match, version)


def _names(tags: str, version: str | None) -> bool:
    # Compared weakly: a proxy that compresses a reply marks its tag as weak.
    named = {tag.strip().removeprefix("W/") for tag in tags.split(",")}
    return version is not None and (version.removeprefix("W/") in named or "*" in named)
