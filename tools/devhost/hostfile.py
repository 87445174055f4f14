"""host.json and the `%SETTING%` references of bindings."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.devhost.errors import AppFailed

OVERRIDE = "AzureFunctionsJobHost__"


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """`extensions.queues` of host.json with the host's defaults; durations in seconds."""

    batch_size: int = 16
    new_batch_threshold: int = 8
    max_dequeue_count: int = 5
    visibility_timeout: float = 0
    max_polling_interval: float = 60
    base64: bool = True


@dataclass(frozen=True, slots=True)
class HostFile:
    """What the dev host takes from host.json."""

    route_prefix: str = "api"
    queues: QueueOptions = QueueOptions()

    @classmethod
    def read(cls, app_dir: Path) -> "HostFile":
        """Reads `app_dir`/host.json; raises AppFailed when it is missing or wrong."""
        path = app_dir / "host.json"
        try:
            content = json.loads(path.read_text("utf-8"))
            return cls.parse(overridden(content, os.environ))
        except OSError as error:
            raise AppFailed(f"cannot read {path}: {error.strerror}") from error
        except (ValueError, AttributeError, TypeError) as error:
            raise AppFailed(f"{path} is wrong: {error}") from error

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "HostFile":
        """Reads the parsed file; raises ValueError on a wrong value."""
        extensions = content.get("extensions", {})
        queues = extensions.get("queues", {})
        batch_size = int(queues.get("batchSize", 16))
        if not 1 <= batch_size <= 32:
            raise ValueError("extensions.queues.batchSize is not in 1..32")
        return cls(
            route_prefix=str(extensions.get("http", {}).get("routePrefix", "api")).strip("/"),
            queues=QueueOptions(
                batch_size=batch_size,
                new_batch_threshold=int(queues.get("newBatchThreshold", batch_size // 2)),
                max_dequeue_count=int(queues.get("maxDequeueCount", 5)),
                visibility_timeout=seconds(queues.get("visibilityTimeout", "00:00:00")),
                max_polling_interval=seconds(queues.get("maxPollingInterval", "00:01:00")),
                base64=str(queues.get("messageEncoding", "base64")).lower() == "base64",
            ),
        )


def overridden(content: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """The content with the values of `AzureFunctionsJobHost__a__b` put in at `a.b`."""
    changed: dict[str, Any] = json.loads(json.dumps(content))
    for name, value in environ.items():
        if name.startswith(OVERRIDE):
            *folders, last = name.removeprefix(OVERRIDE).split("__")
            place = changed
            for folder in folders:
                place = place.setdefault(folder, {})
            place[last] = value
    return changed


def seconds(span: str) -> float:
    """A time span `[d.]hh:mm:ss[.fff]` in seconds; raises ValueError on any other text."""
    match = re.fullmatch(r"(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2}(?:\.\d+)?)", span)
    if match is None:
        raise ValueError(f"{span!r} is no time span hh:mm:ss")
    days, hours, minutes, rest = match.groups()
    return int(days or 0) * 86400 + int(hours) * 3600 + int(minutes) * 60 + float(rest)


def resolved(text: str, environ: Mapping[str, str] | None = None) -> str:
    """Replaces each `%NAME%` by the setting NAME; raises AppFailed when it is not set."""
    settings = os.environ if environ is None else environ

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        if not settings.get(name):
            raise AppFailed(f"the setting {name}, which the binding {text!r} needs, is not set")
        return settings[name]

    return re.sub(r"%([^%\s]+)%", value, text)
