"""PostgreSQL as a child process on a port of its own, with a database to leave traces in."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Self

from tools.process import ChildProcess, ProcessFailed

OWNER = "owner"


class Postgres:
    """A running server with an empty cluster, used as a context manager.

    Its data go at the end; nothing is kept. `settings` are `name=value` of postgresql.conf.
    """

    def __init__(self, settings: Sequence[str] = ()) -> None:
        """Starts nothing yet."""
        self._settings = settings
        self._password = secrets.token_hex(8)
        self._port = 0
        self._folder: Path | None = None
        self._process: ChildProcess | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Makes the cluster, starts the server and waits until it takes connections.

        Raises:
            ProcessFailed: there is no server program, or it does not come up.
        """
        programs = _programs()
        # The server refuses to run as root.
        user = "postgres" if os.geteuid() == 0 else None
        self._folder = Path(mkdtemp(prefix="pg-"))
        if user is not None:
            shutil.chown(self._folder, user)
        _make_cluster(programs, self._folder, self._password, user)
        self._port = _free_port()
        self._process = ChildProcess(
            self._command(programs, self._folder),
            name="PostgreSQL",
            env={**os.environ, "LC_ALL": "C"},
            cwd=self._folder,
            user=user,
        )
        self._process.wait_for("database system is ready to accept connections", 60)

    def stop(self) -> None:
        """Ends the server, whoever is connected, and removes its data."""
        if self._process is not None:
            if self._process.exit_code is None:
                os.kill(self._process.pid, signal.SIGINT)  # SIGTERM would wait for the clients
            self._process.stop()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    @property
    def connection_string(self) -> str:
        """An ODBC connection string of the database `postgres`, as its owner."""
        return (
            f"Driver={{PostgreSQL Unicode}};Server=127.0.0.1;Port={self._port};"
            f"UID={OWNER};PWD={self._password};Database=postgres"
        )

    def _command(self, programs: Path, folder: Path) -> list[str | Path]:
        # Where Linux offers it, the server ends with this process, even by SIGKILL.
        keeper = shutil.which("setpriv")
        command: list[str | Path] = [keeper, "--pdeathsig", "INT", "--"] if keeper else []
        command += [programs / "postgres", "-D", folder / "data"]
        own = ["listen_addresses=127.0.0.1", f"unix_socket_directories={folder}", "fsync=off"]
        for setting in (f"port={self._port}", *own, *self._settings):
            command += ["-c", setting]
        return command


def _programs() -> Path:
    """The folder of the server on PATH, or of the newest one where Debian puts it."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    server = shutil.which("postgres") or (installed[-1] if installed else None)
    if server is None:
        raise ProcessFailed("no PostgreSQL server is installed (apt-get install postgresql)")
    return Path(server).resolve().parent


def _make_cluster(programs: Path, folder: Path, password: str, user: str | None) -> None:
    word_file = folder / "password"
    word_file.write_text(password)
    word_file.chmod(0o600)
    if user is not None:
        shutil.chown(word_file, user)
    command: list[str | Path] = [programs / "initdb", "-D", folder / "data", "-U", OWNER]
    command += ["-A", "scram-sha-256", f"--pwfile={word_file}", "--no-sync", "--locale=C"]
    command += ["--encoding=UTF8"]
    made = subprocess.run(command, capture_output=True, cwd=folder, user=user, text=True)
    if made.returncode != 0:
        raise ProcessFailed(f"initdb failed:\n{made.stderr}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
