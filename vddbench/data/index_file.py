"""`index.parquet` of a prepared store: a row a video; how it is written, read, hashed and checked.

All of it goes by parts: whole, the quarter of a million rows of Kinetics took 0.4 GB more than they have.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from vddbench.spec import DatasetSpec
from vddbench.system.files import canonical_json

COLUMNS = ("video", "label", "split", "validation", "group", "offset", "num_frames", "stride", "sha256", "frames_sha256")
ROWS = ["video", "label", "split", "validation", "group", "num_frames", "stride"]
DIGESTED = [*ROWS, "frames_sha256"]
OF_SPLIT = [column for column in COLUMNS if column not in {"sha256", "frames_sha256"}]  # hashes are most of the memory
AT_A_TIME = 16_384  # rows of the index that are written, read and hashed: opening a store then takes little more than its index


def write_index(index: pd.DataFrame, file: BinaryIO) -> None:
    index.to_parquet(file, index=False, row_group_size=AT_A_TIME)


def read_index(path: Path) -> pd.DataFrame:
    """The whole `index.parquet`. Raises OSError, ValueError when it is none."""
    import pyarrow as pa
    from pyarrow import parquet

    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())  # the default one keeps what was freed
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            parts = [file.read_row_group(i, use_threads=False) for i in range(file.num_row_groups)]
        index: pd.DataFrame = pa.concat_tables(parts).to_pandas(use_threads=False)
    finally:
        pa.set_memory_pool(before)
    return index


def store_digest(spec: DatasetSpec, index: pd.DataFrame) -> str:
    """sha256 of the spec and of every video's place, label and pixels; not of paths, order in `frames.bin`, source files or
    where they came from."""
    return _digest_of(spec, index[DIGESTED])


def rows_digest(spec: DatasetSpec, index: pd.DataFrame) -> str:
    """The same without the pixels: the exact part of a store's fingerprint (fingerprint.py)."""
    return _digest_of(spec, index[ROWS])


def _digest_of(spec: DatasetSpec, table: pd.DataFrame) -> str:
    """Of the canonical JSON of [spec, rows], which as a whole is some 300 MB of a quarter of a million rows."""
    digest = hashlib.sha256(b"[" + canonical_json(spec.from_anywhere().model_dump(mode="json")) + b",[")
    for first in range(0, len(table), AT_A_TIME):
        rows = canonical_json(table.iloc[first : first + AT_A_TIME].to_numpy(object).tolist())
        digest.update((b"," if first else b"") + rows[1:-1])
    digest.update(b"]]")
    return digest.hexdigest()


def check_layout(index: pd.DataFrame) -> None:
    """Raises ValueError unless the videos fill `frames.bin` one after the other, all of train before those of test."""
    offsets, lengths = (index[name].to_numpy(np.int64) for name in ("offset", "num_frames"))
    order = np.argsort(offsets, kind="stable")
    offsets, lengths, in_test = offsets[order], lengths[order], (index["split"] == "test").to_numpy(bool)[order]
    one_after_another = (offsets + lengths == lengths.cumsum()).all()
    if not (one_after_another and (in_test[:-1] <= in_test[1:]).all()):
        raise ValueError("the videos in frames.bin don't follow each other, those of train first")


def check_index(spec: DatasetSpec, index: pd.DataFrame, digest: str) -> None:
    """Raises ValueError when spec and index are not those that `prepare` wrote. Reads no frames."""
    lacking = [column for column in COLUMNS if column not in index]
    if lacking:
        raise ValueError(f"index.parquet lacks {', '.join(lacking)}, maybe an earlier version wrote it")
    if (found := store_digest(spec, index)) != digest:
        raise ValueError(f"spec.json or index.parquet was changed: digest {found[:8]}, done.json says {digest[:8]}")
    check_layout(index)
