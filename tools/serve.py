"""`make serve`: the scheduler on this machine, with its data kept in `.local/`, until Ctrl-C.

Settings come from the environment, then from local.settings.json, then from what the first start
made and keeps in `.local/`. Storage is always an Azurite of its own.
"""

import argparse
import ctypes
import fcntl
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from types import FrameType

from tools.azurite import Azurite
from tools.local_settings import SettingsUnreadable, local_settings
from tools.process import ROOT, DevHost, ProcessFailed, start_dev_host

LOOK_SECONDS = 0.5
PR_SET_PDEATHSIG = 1


class CannotServe(Exception):
    """Something on this machine is in the way; the text says what to do."""


def main() -> int:
    """Serves until it is told to stop; returns the exit code."""
    flags = _parser().parse_args()
    stop = Event()
    _stop_on_signals(stop)
    if flags.stop_with_parent:
        _stop_with_parent()
    try:
        return serve(flags.root.resolve(), flags.app_dir.resolve(), flags.port, stop)
    except (CannotServe, ProcessFailed, SettingsUnreadable) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1


def serve(root: Path, app_dir: Path, port: int, stop: Event) -> int:
    """Runs Azurite and a dev host with the data in `root`/.local; returns the exit code.

    Raises:
        CannotServe: when the port is taken or these data are served already.
        ProcessFailed: when Azurite or the dev host does not come up.
    """
    data = root / ".local"
    _check_port(port)
    with _locked(data):
        settings = local_settings(root, os.environ)
        with Azurite(data / "azurite") as azurite:
            settings["AzureWebJobsStorage"] = azurite.connection_string
            with start_dev_host(settings, port=port, app_dir=app_dir, echo=sys.stderr) as host:
                _greet(host.url, settings["SCHEDULER_ADMIN_KEY"], data)
                return _wait(host, stop)


def _wait(host: DevHost, stop: Event) -> int:
    while not stop.wait(LOOK_SECONDS):
        if host.exit_code is not None:
            print("serve: the dev host ended by itself; its last words are above", file=sys.stderr)
            return 1
    print("Stopping …", flush=True)
    return 0


def _greet(url: str, admin_key: str, data: Path) -> None:
    print(
        f"\nJob Scheduler is served on {url}\n"
        f"  health      {url}/api/health/ready\n"
        f"  admin key   {admin_key}   (header X-API-Key)\n"
        f"  data        {data}\n"
        "Ctrl-C stops it.\n",
        flush=True,
    )


def _check_port(port: int) -> None:
    if port == 0:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise CannotServe(
                f"port {port} cannot be used ({error.strerror}): stop what listens there, "
                f"or choose another port: make serve PORT={port + 1}"
            ) from error


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CannotServe(f"the data in {data} are being served already") from error
        yield


def _stop_on_signals(stop: Event) -> None:
    def handle(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handle)


def _stop_with_parent() -> None:
    """Asks Linux for SIGTERM at the parent's end, even by SIGKILL; elsewhere it does nothing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.serve", description=__doc__)
    port = int(os.environ.get("PORT") or 7071)
    parser.add_argument("--port", type=int, default=port, help="default: PORT, or 7071")
    parser.add_argument("--root", type=Path, default=ROOT, help="holds .local and the settings")
    parser.add_argument("--app-dir", type=Path, default=ROOT, help="folder of function_app.py")
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when it ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
