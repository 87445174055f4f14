"""The app of this process: loaded at its first use, because indexing the triggers needs none."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scheduler.app import App


def load_app() -> "App":
    """This process's app.

    Raises:
        Misconfigured: a setting is missing or wrong.
    """
    from scheduler.app import get_app

    return get_app()
