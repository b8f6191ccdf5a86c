"""The folder that a store is built in: one process at a time, moved into place when complete, cleaned up after a kill."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from vddbench.system import locks
from vddbench.system.progress import say

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def explained(name: str, place: Path) -> Iterator[None]:
    """Says how to resume after Ctrl-C and when the disk is full."""
    again = f"the work done so far is kept in {place.parent}; run the same command again to resume"
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted: {again}", style="yellow")
        raise
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise OSError(errno.ENOSPC, f"disk full while preparing {name} ({error.strerror}); {again}") from None


def lock_of(place: Path) -> Path:
    return place.with_name(f".{place.name}.lock")


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Keeps other `prepare` processes from this store. Raises PermissionError, ValueError if one is preparing it."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locks.locked(lock_of(place), wait=False))
        except BlockingIOError:
            raise ValueError(f"another process is preparing {place.name}; wait until it is done") from None
        except OSError as error:
            raise PermissionError(
                f"cannot write in {place.parent} ({error.strerror}); set VDDBENCH_HOME to a folder you can write"
            ) from None
        yield


def rebuilding(place: Path) -> Path:
    """The folder in which --force builds, beside the store that the result will replace."""
    return place.with_name(f".{place.name}.force")


def swap(place: Path) -> bool:
    """Replaces the old store by a completely rebuilt one; returns whether there was a rebuilt store.

    Also completes the replacement if an earlier run was killed before or during it.
    """
    building, old = rebuilding(place), place.with_name(f".{place.name}.old")
    swapped, rebuilt = old.is_dir(), (building / "done.json").is_file()
    if swapped and place.is_dir():
        shutil.rmtree(old)
    if rebuilt and place.is_dir():
        place.rename(old)
    if rebuilt:
        building.rename(place)
    if old.is_dir():
        shutil.rmtree(old)
    return swapped or rebuilt


def sweep(folder: Path) -> None:
    """Removes what a killed run leaves beside the frames: parts of videos and unfinished files."""
    for parts in folder.glob("parts*"):
        shutil.rmtree(parts, ignore_errors=True)  # a worker may write for milliseconds after its parent was killed
    for file in folder.glob(".*.part"):
        file.unlink()
