"""A lock is held by one process at a time and ends with it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vddbench.system.locks import is_locked, locked

HOLDER = """import sys, time
from pathlib import Path
from vddbench.system.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_blocks_nobody(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "lock"
    assert not is_locked(path)
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        assert is_locked(path)
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        holder.send_signal(signal.SIGKILL)
    assert not is_locked(path)
    with locked(path, wait=False):
        assert is_locked(path)


def test_a_process_that_looks_at_a_lock_keeps_nobody_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    with path.open("w") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)  # as `is_locked` does
        monkeypatch.setattr("vddbench.system.locks.time.sleep", lambda seconds: fcntl.flock(looking, fcntl.LOCK_UN))
        with locked(path, wait=False):
            assert is_locked(path)


def test_waiting_is_reported_once_and_ends_when_the_lock_is_free(tmp_path: Path) -> None:
    path, held, release, waits, order = tmp_path / "lock", threading.Event(), threading.Event(), [], []

    def hold() -> None:
        with locked(path, remove=True):
            held.set()
            release.wait(10)
            order.append("holder")

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    with locked(path, remove=True, on_wait=lambda: (waits.append(1), release.set())):  # type: ignore[arg-type, return-value]
        order.append("waiter")
        assert path.exists()  # the holder removed the file that was waited for: a new one is the lock
    thread.join()
    assert order == ["holder", "waiter"] and waits == [1] and not path.exists()


def test_a_child_process_that_inherits_the_lock_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path) as handle:
        os.set_inheritable(handle, True)
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[handle])
    assert is_locked(path)
    child.communicate(b"\n")
    assert not is_locked(path)


def test_a_system_without_locks_is_named_with_those_that_have_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    with pytest.raises(OSError, match="WSL 2"), locked(tmp_path / "lock"):
        pytest.fail("locked")
