"""The folder of prepared stores and caches, and the space left on its disk."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPARE_BYTES = 32 * 10**6  # kept free on the disk, for the index and for other programs


def home() -> Path:
    """`$VDDBENCH_HOME`, by default `~/.cache/vddbench`: holds prepared stores, caches and checkpoints of distillations."""
    return Path(os.environ.get("VDDBENCH_HOME") or Path.home() / ".cache" / "vddbench")


def private_folder(*parts: str) -> Path:
    """A folder below the home that only this user can write to, made if needed: for work that strangers must not supply.

    Raises PermissionError if the folder, or one of those above it below the home, belongs to somebody else or others can write
    to it.
    """
    folder = home()
    for part in parts:
        folder /= part
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
        if status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(
                f"{folder} belongs to another user, or others can write to it, so what is in it may not come from you: "
                f"chmod -R go-w {folder}, or name another folder with VDDBENCH_HOME"
            )
    return folder


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A temporary home for this process and its child processes, deleted at the end: for benchmarks."""
    before = os.environ.get("VDDBENCH_HOME")
    with tempfile.TemporaryDirectory(prefix="vddbench-") as folder:
        os.environ["VDDBENCH_HOME"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["VDDBENCH_HOME"]
            else:
                os.environ["VDDBENCH_HOME"] = before


def check_space(folder: Path, needed: int) -> None:
    """Raises OSError unless `folder` can take `needed` bytes and SPARE_BYTES stay free for other programs."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise OSError(
            errno.ENOSPC, f"{free / 1e6:,.0f} MB free, at least {(needed + SPARE_BYTES) / 1e6:,.0f} MB needed", str(folder)
        )
