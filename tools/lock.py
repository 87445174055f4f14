"""Who serves the data in a folder: one process at a time.

`python -m tools.lock` ends with 1, and says so in one line, while the data in `.local/` are served.
"""

import fcntl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.process import ROOT


class BeingServed(Exception):
    """Another process has these data; the text names the folder."""


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Keeps every other process off the data in this folder, which is made if need be.

    Raises:
        BeingServed: another process has them.
    """
    data.mkdir(parents=True, exist_ok=True)
    with (data / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BeingServed(f"the data in {data} are being served already") from error
        yield


def main(root: Path = ROOT) -> int:
    """Whether the data of this checkout are free: 0, or 1 and a line that says what to do."""
    data = root / ".local"
    if not (data / "lock").exists():
        return 0
    try:
        with locked(data):
            return 0
    except BeingServed:
        print(
            f"clean: the data in {data} are being served: stop `make serve` first", file=sys.stderr
        )
        return 1


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
