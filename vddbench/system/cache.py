"""Files that are made once and shared by runs, such as expert trajectories or a teacher's features. Safe under concurrency."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from vddbench.system.files import replacing
from vddbench.system.locks import locked
from vddbench.system.progress import say


def cached(path: Path, make: Callable[[], bytes | Iterable[bytes]]) -> Path:
    """Returns `path`. If it does not exist, writes what `make` returns, bytes or parts; other processes wait meanwhile.

    The file's name must depend on everything that its content depends on, because an existing file is never made again.
    """
    if path.exists():
        return path
    lock = path.parent / f".{path.name}.lock"
    with locked(lock, on_wait=lambda: say(f"another process is making {path}; waiting for it"), remove=True):
        if not path.exists():  # the process that held the lock may have made it
            content = make()
            with replacing(path) as file:
                for part in [content] if isinstance(content, bytes) else content:
                    file.write(part)
    return path
