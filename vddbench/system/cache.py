"""Files that are made once and then shared by runs: expert trajectories, features of a teacher. Safe under concurrency."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

from vddbench.system.files import replacing
from vddbench.system.progress import say


def cached(path: Path, make: Callable[[], bytes]) -> Path:
    """`path`, with what `make` gives when it isn't there yet; its name must say everything that its content follows from.

    While one process makes it, others wait: the lock goes with the process, so one that was killed holds up nobody.
    """
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.parent / f".{path.name}.lock"
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another process is making {path}; waiting for it")
            fcntl.flock(file, fcntl.LOCK_EX)
        if not path.exists():
            content = make()
            with replacing(path) as made:
                made.write(content)
        lock.unlink(missing_ok=True)  # whoever waits on this lock finds `path` after it
    return path
