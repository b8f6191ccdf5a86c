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
