"""File locks between processes. A lock ends with the process that holds it, so a killed process blocks nobody."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

LOOK_SECONDS = 0.1  # before a second attempt: `is_locked` of another process holds a lock for a moment


@contextmanager
def locked(path: Path, *, wait: bool = True, on_wait: Callable[[], None] | None = None, remove: bool = False) -> Iterator[int]:
    """Holds the exclusive lock `path` and yields its file descriptor, which a child process may inherit to keep the lock.

    wait: block until the lock is free; on_wait is called once before blocking. remove: delete the file on release.
    Raises BlockingIOError if another process holds the lock and `wait` is False, OSError if the file cannot be created or the
    system has no such locks.
    """
    fcntl = _fcntl()
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    time.sleep(LOOK_SECONDS)
                elif on_wait is not None:
                    on_wait()
                fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not _is_at(handle, path):
                continue  # the previous holder removed the file that this process waited for
            try:
                yield handle
            finally:
                if remove:
                    path.unlink(missing_ok=True)  # before the release: no other process can hold a file of this name
            return
        finally:
            os.close(handle)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock `path`. False if the file does not exist."""
    fcntl = _fcntl()
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _fcntl() -> ModuleType:
    """Python's module for file locks. Raises OSError where there is none; records can still be read and ranked there."""
    try:
        import fcntl
    except ImportError:
        message = "this system has no file locks, which all commands that prepare, distill or evaluate need"
        raise OSError(errno.ENOTSUP, f"{message}; use Linux or macOS, on Windows WSL 2", sys.platform) from None
    return fcntl


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
