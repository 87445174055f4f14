"""`make serve`: the scheduler on this machine, with its data kept in `.local/`, until Ctrl-C.

Settings come from the environment, then from local.settings.json, then from what the first start
made and keeps in `.local/`. Storage is always an Azurite of its own.
"""

import argparse
import ctypes
import os
import signal
import socket
import sys
from pathlib import Path
from threading import Event
from types import FrameType

from scheduler.errors import Misconfigured
from scheduler.security.encryption import Cipher
from scheduler.settings import Settings
from tools.azurite import Azurite
from tools.local_settings import SettingsUnreadable, local_settings
from tools.lock import BeingServed, locked
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
        port = _port(flags.port)
        return serve(flags.root.resolve(), flags.app_dir.resolve(), port, stop)
    except (BeingServed, CannotServe, Misconfigured, ProcessFailed, SettingsUnreadable) as error:
        print(f"serve: {error}", file=sys.stderr)
        return 1


def serve(root: Path, app_dir: Path, port: int, stop: Event) -> int:
    """Runs Azurite and a dev host with the data in `root`/.local; returns the exit code.

    Raises:
        BeingServed: these data are served already.
        CannotServe: the port is taken.
        Misconfigured: a setting is wrong.
        ProcessFailed: Azurite or the dev host does not come up.
    """
    data = root / ".local"
    _check_port(port)
    with locked(data):
        settings = local_settings(root, os.environ)
        _check_settings(settings)
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


def _check_settings(values: dict[str, str]) -> None:
    # The app serves even with a wrong setting; here a line at once is better than a 503 later.
    Cipher(Settings.load(values).encryption_keys).check()


def _port(text: str) -> int:
    if text.isdecimal() and int(text) < 2**16:
        return int(text)
    raise CannotServe(f"{text!r} is no port: give a number up to 65535, as in make serve PORT=7072")


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
    port = os.environ.get("PORT") or "7071"
    parser.add_argument("--port", default=port, help="default: PORT, or 7071")
    parser.add_argument("--root", type=Path, default=ROOT, help="holds .local and the settings")
    parser.add_argument("--app-dir", type=Path, default=ROOT, help="folder of function_app.py")
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when it ends")
    return parser


if __name__ == "__main__":
    sys.exit(main())
