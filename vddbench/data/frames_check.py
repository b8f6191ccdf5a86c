"""Compares the frames in `frames.bin` with the hashes in the index, so that changed frames are found before they count."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

import pandas as pd

from vddbench.system.progress import bar

if TYPE_CHECKING:
    from vddbench.data.store import Store

BLOCK_BYTES = 1 << 16  # 1 MB blocks were three times slower on Linux
MAX_THREADS = 8  # a disk rarely delivers more than 8 threads can hash
_checked: set[tuple[object, ...]] = set()  # stores whose test frames this process has hashed


def sha256_frames(file: BinaryIO, offset: int, num_frames: int, frame_bytes: int) -> str:
    """The sha256 of `num_frames` frames of a `frames.bin` from frame `offset` on."""
    digest, left = hashlib.sha256(), num_frames * frame_bytes
    file.seek(offset * frame_bytes)
    while left and (block := file.read(min(left, BLOCK_BYTES))):
        digest.update(block)
        left -= len(block)
    return digest.hexdigest()


def check_frames(store: Store, split: Literal["train", "test"] | None = None) -> None:
    """Reads the frames of a split, None for all. Raises ValueError if a video's frames do not have the hash in the index."""
    rows = store.index if split is None else store.index[store.index["split"] == split]
    frame_bytes = store.spec.clip_bytes // store.spec.frames
    num_threads = min(MAX_THREADS, os.cpu_count() or 1, max(1, len(rows)))
    shares = [rows.iloc[i::num_threads] for i in range(num_threads)]
    with bar("verifying frames", len(rows)) as progress, ThreadPoolExecutor(num_threads) as pool:
        changed = list(pool.map(lambda share: list(changed_in(store.path, share, frame_bytes, progress.advance)), shares))
    if videos := sorted(video for share in changed for video in share):
        first = ", ".join(videos[:5]) + (", ..." if len(videos) > 5 else "")
        raise ValueError(
            f"store {store.path} is damaged: frames.bin no longer holds the prepared frames of {len(videos):,} videos: "
            f"{first}; run the `vddbench prepare` command that made it with --force"
        )


def changed_in(path: Path, rows: pd.DataFrame, frame_bytes: int, on_video: Callable[[], None]) -> Iterator[str]:
    """The videos of these rows of the index whose frames have another hash. on_video: progress callback."""
    columns = zip(*(rows[name] for name in ("video", "offset", "num_frames", "frames_sha256")), strict=True)
    with (path / "frames.bin").open("rb") as file:
        for video, offset, num_frames, frames_sha256 in columns:
            if sha256_frames(file, offset, num_frames, frame_bytes) != frames_sha256:
                yield video
            on_video()


def check_test_frames(store: Store) -> None:
    """`check_frames` of the test split, once a process and again whenever `frames.bin` has changed since."""
    status = (store.path / "frames.bin").stat()
    state = (store.path, store.digest, status.st_ino, status.st_size, status.st_mtime_ns)
    if state not in _checked:
        check_frames(store, "test")
        _checked.add(state)
