"""The scheduler on this machine for the time of the example: Azurite and a dev host."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from office_calendar.api import Api
from office_calendar.failure import Failed
from tools.azurite import Azurite
from tools.local_settings import new_secrets
from tools.process import DevHost, ProcessFailed, start_dev_host

HORIZON_SECONDS = 1
"""How far ahead a tick looks here. A new job announces by itself what falls due within the horizon;
by keeping that short, the run that the example waits for is the timer's work."""

FOREIGN = ("SCHEDULER_", "AzureWebJobs")
SHOWN_LINES = 30


@contextmanager
def running_scheduler(connection_text: str, report: Callable[[str, str], None]) -> Iterator[Api]:
    """Starts everything on free ports with fresh secrets, and stops it at the end.

    `report` is told the name of each part that is up, and where.

    Raises:
        Failed: a part did not come up, or the body failed; with the last lines of its log.
    """
    try:
        with Azurite() as azurite:
            report("storage", "Azurite, in memory")
            settings = _settings(azurite.connection_string, connection_text)
            with start_dev_host(settings) as host:
                report("scheduler", f"dev host on {host.url}")
                try:
                    yield Api(host.url, settings["SCHEDULER_ADMIN_KEY"])
                except Failed as error:
                    raise Failed(f"{error}{_what_went_wrong(host)}") from error
    except ProcessFailed as error:
        raise Failed(str(error)) from error


def _what_went_wrong(host: DevHost) -> str:
    """Its end, if it ended, and the last lines of its log that are not mere information."""
    ended = "" if host.exit_code is None else f"\nThe dev host ended with code {host.exit_code}."
    lines = [line for line in host.lines if " INFO " not in line][-SHOWN_LINES:]
    return "\n".join([ended, "The dev host said:", *lines]) if lines else ended


def _settings(storage: str, connection_text: str) -> dict[str, str]:
    # What the environment says about another scheduler is not for this one; empty counts as unset.
    unset = {name: "" for name in os.environ if name.startswith(FOREIGN)}
    return (
        unset
        | new_secrets()
        | {
            "AzureWebJobsStorage": storage,
            "SCHEDULER_NAME": "office",
            "SCHEDULER_CONNECTION_OFFICE": connection_text,
            "SCHEDULER_TICK_HORIZON_SECONDS": str(HORIZON_SECONDS),
        }
    )
