"""Child processes that start with a deadline, end with their parent and leave nothing behind."""

import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import IO, Self

ROOT = Path(__file__).resolve().parent.parent
"""The project's folder."""

KEPT_LINES = 5000


class ProcessFailed(Exception):
    """A child ended, or stayed silent, before it was ready; the text holds its last lines."""


class ChildProcess:
    """One running program in a session of its own, used as a context manager.

    Its standard input is a pipe that only this process holds: a child that watches it learns of
    the parent's end, even by SIGKILL. Output and errors are read as lines into `lines`.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        name: str,
        env: Mapping[str, str] | None = None,
        cwd: Path = ROOT,
        echo: IO[str] | None = None,
        user: str | None = None,
    ) -> None:
        """Starts the program, as `user`; with `echo` each of its lines is written there as well."""
        self.name = name
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._echo = echo
        self._news = Condition()
        self._ended = False
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=None if env is None else dict(env),
            cwd=cwd,
            text=True,
            errors="replace",
            start_new_session=True,
            user=user,
        )
        self._reader = Thread(target=self._read, name=f"{name}-output", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait_for(self, pattern: str, seconds: float = 30, *, count: int = 1) -> re.Match[str]:
        """Waits until `count` lines match the regular expression; returns the match of that line.

        Raises:
            ProcessFailed: when the child ends first, or after `seconds`.
        """
        deadline = monotonic() + seconds
        with self._news:
            while True:
                found = [match for line in self.lines if (match := re.search(pattern, line))]
                if len(found) >= count:
                    return found[count - 1]
                if self._ended:
                    code = self._process.wait()
                    raise ProcessFailed(f"{self.name} ended with exit code {code}:\n{self.tail()}")
                if not self._news.wait(deadline - monotonic()):
                    raise ProcessFailed(
                        f"{self.name} was not ready within {seconds:g} s:\n{self.tail()}"
                    )

    def tail(self, count: int = 30) -> str:
        """The last lines that it has written."""
        return "\n".join(list(self.lines)[-count:])

    def wait(self, seconds: float) -> int:
        """Waits for the end and returns the exit code; raises subprocess.TimeoutExpired."""
        return self._process.wait(seconds)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self._process.terminate()

    def kill(self) -> None:
        """Sends SIGKILL."""
        self._process.kill()

    def freeze(self) -> None:
        """Sends SIGSTOP: it stands still, as a machine does that has no time for it."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Sends SIGCONT: it goes on as if no time had passed."""
        self._process.send_signal(signal.SIGCONT)

    def stop(self, grace_seconds: float = 15) -> int:
        """Ends the child: SIGTERM, after the grace SIGKILL; returns the exit code."""
        self._process.terminate()
        try:
            code = self._process.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        self._reader.join(5)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        return code

    def _read(self) -> None:
        stream = self._process.stdout
        if stream is None:
            return
        for line in stream:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()
            if self._echo is not None:
                self._echo.write(line)
                self._echo.flush()
        with self._news:
            self._ended = True
            self._news.notify_all()


def start_dev_host(
    env: Mapping[str, str],
    *,
    port: int = 0,
    app_dir: Path = ROOT,
    flags: Sequence[str] = (),
    echo: IO[str] | None = None,
    name: str = "dev host",
) -> "DevHost":
    """Starts a dev host with these variables on top of the own environment; see `DevHost`."""
    command: list[str | Path] = [
        *(sys.executable, "-m", "tools.devhost", "--app-dir", app_dir),
        *("--port", str(port), "--stop-with-parent", *flags),
    ]
    inherited = {**os.environ, **loopback_without_proxy(os.environ), "PYTHONUNBUFFERED": "1"}
    return DevHost(command, name=name, env={**inherited, **env}, echo=echo)


def loopback_without_proxy(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables by which HTTP clients reach this machine itself, whatever proxy is set."""
    name = "no_proxy" if "no_proxy" in environ else "NO_PROXY"
    hosts = ",".join(filter(None, (environ.get(name), "127.0.0.1", "localhost")))
    return {"no_proxy": hosts, "NO_PROXY": hosts}


class DevHost(ChildProcess):
    """A dev host in its own process; as a context manager it is entered once it is ready."""

    def __enter__(self) -> Self:
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_until_ready(self, seconds: float = 60) -> str:
        """Waits until functions are loaded and served; returns the base URL ("" without HTTP).

        Raises:
            ProcessFailed: with the host's own words when it could not start.
        """
        return self.wait_for(r"dev host ready(?: on (http://\S+))?", seconds).group(1) or ""

    @property
    def url(self) -> str:
        """The base URL without a slash at the end, such as `http://127.0.0.1:7071`."""
        return self.wait_until_ready()
