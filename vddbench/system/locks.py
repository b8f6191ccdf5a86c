"""File locks between processes. A lock ends with the process that holds it, so a killed process blocks nobody."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def locked(path: Path, *, wait: bool = True, on_wait: Callable[[], None] | None = None, remove: bool = False) -> Iterator[int]:
    """Holds the exclusive lock `path` and yields its file descriptor, which a child process may inherit to keep the lock.

    wait: block until the lock is free; on_wait is called once before blocking. remove: delete the file on release.
    Raises BlockingIOError if another process holds the lock and `wait` is False, OSError if the file cannot be created.
    """
    import fcntl  # not on Windows, where records can still be read and ranked

    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise
                if on_wait is not None:
                    on_wait()
                fcntl.flock(handle, fcntl.LOCK_EX)
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
    import fcntl

    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
