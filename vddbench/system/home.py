"""Where a store is written: one process at a time, on a disk with room, and whole stores only take a name's place."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SPARE_BYTES = 32 * 10**6  # left free on the disk, for the index and for everybody else


def home() -> Path:
    """`$VDDBENCH_HOME`, by default `~/.cache/vddbench`: prepared stores, what is cached, unfinished distillations."""
    return Path(os.environ.get("VDDBENCH_HOME") or Path.home() / ".cache" / "vddbench")


@contextmanager
def passing_home() -> Iterator[Path]:
    """A home for a benchmark, of this process and those it starts: nothing that it makes is kept."""
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
    """Raises OSError before the disk is so full that other programs fail."""
    free = shutil.disk_usage(folder).free
    if free < needed + SPARE_BYTES:
        raise OSError(
            errno.ENOSPC, f"{free / 1e6:,.0f} MB free, at least {(needed + SPARE_BYTES) / 1e6:,.0f} MB needed", str(folder)
        )
