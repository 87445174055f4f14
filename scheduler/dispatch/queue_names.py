"""Names of the scheduler's queues: one a time zone, the relay, and the host's poison queues.

Azure allows 3 to 63 lowercase letters, digits and single hyphens. With a scheduler name of at most
20 characters and the host's `-poison` behind it, 32 characters are left for the zone.
"""

import hashlib
import re

POISON_SUFFIX = "-poison"
LONGEST_SUFFIX = 32
_DIGEST_LENGTH = 8


def zone_suffix(timezone: str) -> str:
    """The zone's part of a queue name; no two IANA names share one.

    `America/New_York` gives `america-new-york`, `Etc/GMT-5` gives `etc-gmt-minus-5`. A name that
    would be over 32 characters is cut and closed with a digest of the whole.
    """
    signed = re.sub(r"-(?=\d)", "-minus-", timezone.lower()).replace("+", "-plus-")
    text = re.sub(r"[^a-z0-9]+", "-", signed).strip("-")
    if len(text) <= LONGEST_SUFFIX:
        return text
    digest = hashlib.sha256(timezone.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{text[: LONGEST_SUFFIX - _DIGEST_LENGTH - 1].rstrip('-')}-{digest}"


def queue_name(scheduler_name: str, timezone: str) -> str:
    """The queue of a zone: `scheduler-tz-america-new-york`."""
    return f"{scheduler_name}-tz-{zone_suffix(timezone)}"


def relay_queue_name(scheduler_name: str) -> str:
    """The queue whose messages have undeclared zones served: `scheduler-relay`."""
    return f"{scheduler_name}-relay"


def poison_queue_name(queue: str) -> str:
    """Where the host puts a message that failed too often."""
    return queue + POISON_SUFFIX


def function_name(timezone: str) -> str:
    """The name of the zone's trigger function, an identifier: `tz_america_new_york`."""
    return "tz_" + zone_suffix(timezone).replace("-", "_")
