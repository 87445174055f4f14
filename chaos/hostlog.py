"""What the hosts' logs tell: how often what was done, and who ran which attempt."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from tools.fleet import Life

_ACTION = re.compile(r" action=(\w+)")
_KEY = re.compile(r' (execution_id|step_id|attempt)=("[^"]*"|\S+)')
_LEVEL = re.compile(r"^\S+ (WARNING|ERROR|CRITICAL) ")

type AttemptKey = tuple[str, str, int]
"""Execution id, step id, number of the attempt."""


@dataclass
class HostLogs:
    """`actions`: how often; `hosts`: the hosts that started an attempt; `errors`: their lines.

    `waits`: how often an attempt was recorded as one that waits.
    """

    actions: Counter[str] = field(default_factory=Counter)
    hosts: dict[AttemptKey, list[str]] = field(default_factory=lambda: defaultdict(list))
    waits: Counter[AttemptKey] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)


def read_logs(lives: Iterable[Life]) -> HostLogs:
    """Reads the logs of all hosts that there were."""
    logs = HostLogs()
    for life in lives:
        with life.log_path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                _note(logs, life.name, line.rstrip("\n"))
    return logs


def _note(logs: HostLogs, host: str, line: str) -> None:
    level = _LEVEL.match(line)
    if level is not None and level[1] != "WARNING":
        logs.errors.append(f"{host}: {line}")
    found = _ACTION.search(line)
    if found is None:
        return
    logs.actions[found[1]] += 1
    if found[1] in ("step_started", "step_waits"):
        keys = {name: value.strip('"') for name, value in _KEY.findall(line)}
        attempt = (keys["execution_id"], keys["step_id"], int(keys["attempt"]))
        if found[1] == "step_waits":
            logs.waits[attempt] += 1
        else:
            logs.hosts[attempt].append(host)
