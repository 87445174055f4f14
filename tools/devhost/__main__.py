"""`python -m tools.devhost`: serves a function app on this machine until TERM or Ctrl-C."""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from threading import Thread

from tools.devhost import log
from tools.devhost.errors import AppFailed
from tools.devhost.host import Host, Options
from tools.devhost.worker import Worker

ROOT = Path(__file__).resolve().parent.parent.parent


def main() -> int:
    """Parses the flags and serves; returns the exit code."""
    flags = _parser().parse_args()
    log.configure(flags.log_level)
    options = Options(
        app_dir=flags.app_dir,
        port=flags.port,
        http=not flags.no_http,
        timers=not flags.no_timers,
        queues=not flags.no_queues,
        grace_seconds=float(os.environ.get("DEVHOST_STOP_GRACE_SECONDS", "10")),
    )
    # The worker is not shut down: as in Azure, its process simply ends.
    code = asyncio.Runner().run(_serve(options, with_parent=flags.stop_with_parent))
    logging.shutdown()
    sys.stdout.flush()
    os._exit(code)


async def _serve(options: Options, *, with_parent: bool) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if with_parent:
        Thread(target=_watch_parent, args=(loop, stop), daemon=True).start()
    logger = logging.getLogger("devhost")
    try:
        worker = await Worker.start(options.app_dir)
        await Host(worker, options).run(stop)
    except AppFailed as error:
        logger.critical("the function app cannot be served: %s", error)
        return 1
    except OSError as error:
        logger.critical("cannot listen on port %d: %s", options.port, error.strerror)
        return 1
    return 0


def _watch_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    sys.stdin.buffer.read()
    loop.call_soon_threadsafe(stop.set)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.devhost", description=__doc__)
    parser.add_argument("--app-dir", type=Path, default=ROOT, help="folder of function_app.py")
    parser.add_argument("--port", type=int, default=7071, help="0 lets the system choose")
    parser.add_argument("--no-http", action="store_true", help="serve no HTTP")
    parser.add_argument("--no-timers", action="store_true", help="run no timers")
    parser.add_argument("--no-queues", action="store_true", help="read no queues")
    parser.add_argument(
        "--stop-with-parent", action="store_true", help="stop when standard input is closed"
    )
    parser.add_argument("--log-level", default="info", help="debug, info, warning or error")
    return parser


if __name__ == "__main__":
    sys.exit(main())
