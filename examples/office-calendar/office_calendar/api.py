"""The calls that the example makes, over HTTP as any client would."""

import json
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from office_calendar.failure import Failed

CONTENT_TYPES = {".json": "application/json", ".yaml": "application/yaml"}
CALL_SECONDS = 30

type Document = dict[str, Any]


class Api:
    """The scheduler's HTTP API at a base URL, called with one key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url
        self._key = key
        # A proxy of the environment is not for this machine's own ports.
        self._opener = build_opener(ProxyHandler({}))

    def execute(self, job: Path) -> Document:
        """Runs the job of a file now; returns the execution as it begins."""
        return self._call("POST", "/api/v2/jobs/execute", job)

    def create(self, job: Path) -> Document:
        """Stores the job of a file; returns it with its next runs."""
        return self._call("POST", "/api/v2/jobs", job)

    def delete(self, job_id: str) -> Document:
        """Deletes a stored job."""
        return self._call("DELETE", f"/api/v2/jobs/{job_id}")

    def execution(self, execution_id: str) -> Document:
        """An execution as it stands."""
        return self._call("GET", f"/api/v2/executions/{execution_id}")

    def status(self) -> Document:
        """The state of the scheduler's zones and timers."""
        return self._call("GET", "/api/v2/execution/status")

    def _call(self, method: str, path: str, body: Path | None = None) -> Document:
        request = Request(self.url + path, method=method)
        request.add_header("X-API-Key", self._key)
        if body is not None:
            request.data = body.read_bytes()
            request.add_header("Content-Type", CONTENT_TYPES[body.suffix])
        try:
            with self._opener.open(request, timeout=CALL_SECONDS) as reply:
                document: Document = json.load(reply)
                return document
        except HTTPError as error:
            with error:
                raise Failed(f"{method} {path}: {_reason(error)}") from error
        except OSError as error:
            raise Failed(f"{method} {path}: no reply from {self.url}: {error}") from error


def _reason(error: HTTPError) -> str:
    try:
        problem = json.load(error)
    except ValueError:
        return f"HTTP {error.code}"
    faults = [f"{fault['pointer']} {fault['message']}" for fault in problem.get("errors", ())]
    return f"HTTP {error.code}: {'; '.join(faults) or problem.get('detail', '')}"
