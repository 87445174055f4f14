"""Azurite, the storage emulator, as a child process on ports of its own."""

import os
import secrets
from base64 import b64encode
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import Self

from tools.process import ROOT, ChildProcess, ProcessFailed

PROGRAM = ROOT / "node_modules" / "azurite" / "dist" / "src" / "azurite.js"
ACCOUNT = "localscheduler"
SERVICES = ("Blob", "Queue", "Table")
KEEP_ALIVE = "60"  # seconds; longer than the clients', which else reuse a connection just closed


class Azurite:
    """A running emulator, used as a context manager.

    The system picks the ports and the account key is made anew for each object, so whoever uses
    `connection_string` speaks to this very emulator. Without `location` all data is in memory.
    Stopped and started again it is found at the same ports, with the same key.
    """

    def __init__(self, location: Path | None = None, *, extent_memory_mb: int = 128) -> None:
        """Keeps data in the folder `location`; in memory, blobs take up to `extent_memory_mb`."""
        self._location = location
        self._extent_memory_mb = extent_memory_mb
        self._folder: TemporaryDirectory[str] | None = None
        self._process: ChildProcess | None = None
        self._ports: dict[str, int] = {}
        self._key = b64encode(secrets.token_bytes(64)).decode()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Starts it and waits until all three services listen.

        Raises:
            ProcessFailed: when Node or Azurite is missing, or it does not come up.
        """
        self._process = ChildProcess(
            self._command(),
            name="Azurite",
            env={**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{self._key}"},
            cwd=self._working_directory(),
        )
        try:
            for service in SERVICES:
                pattern = rf"{service} service is successfully listening at http://[\d.]+:(\d+)"
                self._ports[service] = int(self._process.wait_for(pattern, 60).group(1))
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends it; what it kept in `location` stays there."""
        if self._process is not None:
            self._process.stop()
            self._process = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    @property
    def pid(self) -> int | None:
        """The process id, None while it is stopped."""
        return None if self._process is None else self._process.pid

    @property
    def connection_string(self) -> str:
        """The value for `AzureWebJobsStorage`, with a key that only this process knows."""
        endpoints = [
            f"{service}Endpoint=http://127.0.0.1:{self._ports[service]}/{ACCOUNT}"
            for service in SERVICES
        ]
        account = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={self._key}"
        return ";".join((account, *endpoints, ""))

    def _command(self) -> list[str | Path]:
        node = which("node")
        if node is None or not PROGRAM.is_file():
            raise ProcessFailed("Azurite is not installed: run `make setup`")
        preload = ROOT / "tools" / "exit_with_parent.cjs"
        command: list[str | Path] = [node, "-r", preload, PROGRAM, "--silent"]
        command += ["--skipApiVersionCheck", "--disableTelemetry"]
        for service in SERVICES:
            word, port = service.lower(), self._ports.get(service, 0)
            command += [f"--{word}Port", str(port), f"--{word}KeepAliveTimeout", KEEP_ALIVE]
        if self._location is None:
            limit = str(self._extent_memory_mb)
            return [*command, "--inMemoryPersistence", "--extentMemoryLimit", limit]
        return [*command, "--location", self._location.resolve()]

    def _working_directory(self) -> Path:
        if self._location is not None:
            self._location.mkdir(parents=True, exist_ok=True)
            return self._location
        self._folder = TemporaryDirectory(prefix="azurite-")
        return Path(self._folder.name)
