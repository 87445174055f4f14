"""`make serve`: what it prints, keeps and says, with a small app in place of the scheduler."""

import json
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from azure.storage.queue import QueueServiceClient

from tools.process import ROOT, ChildProcess, ProcessFailed

TINY_APP = Path(__file__).parent / "tiny_app"
SETTINGS = {"SCHEDULER_NAME": "tiny", "TIMER": "0 0 0 1 1 *"}


def _start(root: Path, settings: dict[str, str], port: int = 0) -> ChildProcess:
    secrets = ("SCHEDULER_ADMIN_KEY", "SCHEDULER_KEY_PEPPER", "SCHEDULER_ENCRYPTION_KEYS")
    inherited = {name: value for name, value in os.environ.items() if name not in secrets}
    program = [sys.executable, "-m", "tools.serve"]
    flags = [f"--port={port}", f"--root={root}", f"--app-dir={TINY_APP}"]
    return ChildProcess([*program, *flags], name="serve", env={**inherited, **settings})


def _served(child: ChildProcess) -> tuple[str, str]:
    """Waits until all is up; returns base URL and admin key."""
    url = child.wait_for(r"is served on (\S+)", 60)[1]
    return url, child.wait_for(r"admin key +(\S+)")[1]


def _connection(url: str) -> str:
    with urlopen(f"{url}/api/setting/AzureWebJobsStorage", timeout=30) as reply:
        return str(reply.read().decode())


def test_serve_keeps_its_data_and_secrets_over_a_restart(tmp_path: Path) -> None:
    with _start(tmp_path, SETTINGS) as child:
        url, key = _served(child)
        with QueueServiceClient.from_connection_string(_connection(url)) as queues:
            queues.create_queue("kept")
            queues.get_queue_client("kept").send_message("still here")
        assert child.stop() == 0
    secrets = tmp_path / ".local" / "secrets.json"
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o600
    assert key == json.loads(secrets.read_text())["SCHEDULER_ADMIN_KEY"]
    with _start(tmp_path, SETTINGS) as child:
        url, second_key = _served(child)
        assert second_key == key
        with QueueServiceClient.from_connection_string(_connection(url)) as queues:
            message = queues.get_queue_client("kept").receive_message()
            assert message is not None
            assert message.content == "still here"


def test_settings_come_from_the_environment_before_the_file_before_what_is_kept(
    tmp_path: Path,
) -> None:
    values = {"SCHEDULER_ADMIN_KEY": "key-of-the-file-123", "FLAVOR": "file", "SCHEDULER_NAME": ""}
    (tmp_path / "local.settings.json").write_text(json.dumps({"Values": values}), "utf-8")
    with _start(tmp_path, {**SETTINGS, "FLAVOR": "environment"}) as child:
        url, key = _served(child)
        with urlopen(f"{url}/api/setting/FLAVOR", timeout=30) as reply:
            assert reply.read() == b"environment"
        assert key == "key-of-the-file-123"


def test_a_taken_port_is_said_with_the_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            _start(tmp_path, SETTINGS, port) as child,
            pytest.raises(ProcessFailed, match=f"(?s)exit code 1.*port {port} cannot be used"),
        ):
            child.wait_for("is served on")


def test_the_same_data_are_not_served_twice(tmp_path: Path) -> None:
    with _start(tmp_path, SETTINGS) as first:
        _served(first)
        with (
            _start(tmp_path, SETTINGS) as second,
            pytest.raises(ProcessFailed, match="being served already"),
        ):
            second.wait_for("is served on")


def test_data_that_are_served_are_not_cleaned_away(tmp_path: Path) -> None:
    def cleanable() -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tools.lock", str(tmp_path)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert cleanable().returncode == 0
    with _start(tmp_path, SETTINGS) as child:
        _served(child)
        refused = cleanable()
        assert refused.returncode == 1
        (line,) = refused.stderr.splitlines()
        assert "stop `make serve` first" in line
        assert child.stop() == 0
    assert cleanable().returncode == 0


def test_make_clean_looks_before_it_removes_anything() -> None:
    make = shutil.which("make")
    assert make
    command = [make, "--dry-run", "-C", str(ROOT), "clean"]
    steps = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 0 < steps.index("-m tools.lock") < steps.index("rm -rf")


@pytest.mark.parametrize("port", ["abc", "-1", "65536", "7071.5", "²"])
def test_a_port_that_is_none_is_one_line(port: str, tmp_path: Path) -> None:
    _check_one_line(tmp_path, {"PORT": port}, repr(port))


@pytest.mark.parametrize(
    "wrong",
    [{"SCHEDULER_LEASE_SECONDS": "hunter2"}, {"SCHEDULER_ENCRYPTION_KEYS": "hunter2"}],
)
def test_a_wrong_setting_is_one_line(wrong: dict[str, str], tmp_path: Path) -> None:
    (name,) = wrong
    assert "hunter2" not in _check_one_line(tmp_path, {**wrong, "PORT": "0"}, name)


def _check_one_line(root: Path, settings: dict[str, str], told: str) -> str:
    """Asserts that serve ends with 1 and one line that tells this; returns the line."""
    command = [sys.executable, "-m", "tools.serve", f"--root={root}", f"--app-dir={TINY_APP}"]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **SETTINGS, **settings},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("serve: ")
    assert told in line
    return line


def test_an_app_that_cannot_be_loaded_ends_serve_with_the_reason(tmp_path: Path) -> None:
    with (
        _start(tmp_path, {**SETTINGS, "TIMER": "never"}) as child,
        pytest.raises(ProcessFailed, match=r"(?s)exit code 1.*'never' cannot be read"),
    ):
        child.wait_for("is served on")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_serve_leaves_no_process_behind(number: signal.Signals, tmp_path: Path) -> None:
    with _start(tmp_path, SETTINGS) as child:
        _served(child)
        watches = [os.pidfd_open(pid) for pid in _descendants(child.pid)]
        assert len(watches) == 2
        os.kill(child.pid, number)
        code = child.wait(30)
        assert code == (-number if number is signal.SIGKILL else 0)
        for watch in watches:
            assert select.select([watch], [], [], 20)[0]
            os.close(watch)


def _descendants(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]
