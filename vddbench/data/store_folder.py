"""The folder a store is built in: one process at a time, swapped into place when whole, swept after a kill."""

from __future__ import annotations

import errno
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vddbench.system.progress import say

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def explained(name: str, place: Path) -> Iterator[None]:
    """Says what to do after Ctrl-C and on a full disk."""
    again = f"what is done is kept in {place.parent}; run the same command again to resume"
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted: {again}", style="yellow")
        raise
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        raise OSError(errno.ENOSPC, f"disk full while preparing {name} ({error.strerror}); {again}") from None


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """One `prepare` of a store at a time; the lock goes with the process. Raises PermissionError, ValueError."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        file = place.with_name(f".{place.name}.lock").open("w")
    except OSError as error:
        raise PermissionError(
            f"cannot write in {place.parent} ({error.strerror}); set VDDBENCH_HOME to a folder you can write"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"another process is preparing {place.name}; wait until it is done") from None
        yield


def rebuilding(place: Path) -> Path:
    """Where --force builds beside the store that it will replace."""
    return place.with_name(f".{place.name}.force")


def swap(place: Path) -> bool:
    """A rebuilt store takes the old one's place, also when an earlier run was killed before or while it did so.
    Was there one?
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
    """Removes what a killed run leaves beside the frames: the parts of videos, files that were not finished."""
    for parts in folder.glob("parts*"):
        shutil.rmtree(parts, ignore_errors=True)  # a worker may write for milliseconds after its parent was killed
    for file in folder.glob(".*.part"):
        file.unlink()
