"""The files that describe a prepared store, index.parquet, spec.json and done.json: how they are read, hashed and checked.

The index has one row per video and is handled in parts: as a whole, the quarter of a million rows of Kinetics took 0.4 GB more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from pydantic import NonNegativeInt, TypeAdapter, ValidationError

from vddbench.spec import DatasetSpec, Fingerprint, Sha256
from vddbench.system.files import canonical_json, read_json

COLUMNS = ("video", "label", "split", "validation", "group", "offset", "num_frames", "stride", "sha256", "frames_sha256")
ROWS = ["video", "label", "split", "validation", "group", "num_frames", "stride"]
DIGESTED = [*ROWS, "frames_sha256"]
OF_SPLIT = [column for column in COLUMNS if column not in {"sha256", "frames_sha256"}]  # hashes take most memory
ROWS_AT_ONCE = 16_384  # of the index to write, read or hash, so that opening a store takes little more memory than its index
MAX_DONE_BYTES = 10**6  # of done.json, which has less than 2 kB


class Head(NamedTuple):
    """What a finished store's spec.json and done.json say, in the right form; whether it is true is not checked here."""

    spec: DatasetSpec
    digest: Sha256
    fingerprint: Fingerprint
    num_missing: NonNegativeInt


def read_done(folder: Path) -> Any:
    """The content of done.json. Raises OSError, ValueError."""
    return read_json(folder / "done.json", MAX_DONE_BYTES)


def read_head(folder: Path) -> Head:
    """Reads spec.json and done.json of the store in `folder`. Raises KeyError, OSError, TypeError, ValueError."""
    spec = DatasetSpec.model_validate_json((folder / "spec.json").read_bytes())
    done = read_done(folder)
    return TypeAdapter(Head).validate_python({"spec": spec, **{name: done[name] for name in Head._fields[1:]}})


@contextmanager
def damage_explained(name: str, folder: Path) -> Iterator[None]:
    """Turns any error in reading the files of the store `name` into a ValueError that says what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        if isinstance(error, ValidationError):
            first = error.errors()[0]
            reason = f"{'.'.join(map(str, first['loc']))} is {first['input']!r:.60}: {first['msg']}"
        raise ValueError(f"store {folder} is damaged ({reason}); run `vddbench prepare {name} --force`") from error


def write_index(index: pd.DataFrame, file: BinaryIO) -> None:
    index.to_parquet(file, index=False, row_group_size=ROWS_AT_ONCE)


def read_index(path: Path) -> pd.DataFrame:
    """Reads the whole `index.parquet`. Raises OSError or ValueError if it is damaged."""
    import pyarrow as pa
    from pyarrow import parquet

    before = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())  # the default pool keeps freed memory
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            parts = [file.read_row_group(i, use_threads=False) for i in range(file.num_row_groups)]
        index: pd.DataFrame = pa.concat_tables(parts).to_pandas(use_threads=False)
    finally:
        pa.set_memory_pool(before)
    return index


def store_digest(spec: DatasetSpec, index: pd.DataFrame) -> str:
    """The sha256 of the spec and of every video's row and pixels.

    It does not cover paths, the order in `frames.bin`, the source files' hashes or the repo that the videos came from.
    """
    return _digest(spec, index[DIGESTED])


def rows_digest(spec: DatasetSpec, index: pd.DataFrame) -> str:
    """`store_digest` without the pixels: the exact part of a store's fingerprint."""
    return _digest(spec, index[ROWS])


def _digest(spec: DatasetSpec, table: pd.DataFrame) -> str:
    """The sha256 of the canonical JSON of [spec, rows], made in parts: a quarter of a million rows take some 300 MB."""
    digest = hashlib.sha256(b"[" + canonical_json(spec.from_anywhere().model_dump(mode="json")) + b",[")
    for first in range(0, len(table), ROWS_AT_ONCE):
        rows = canonical_json(table.iloc[first : first + ROWS_AT_ONCE].to_numpy(object).tolist())
        digest.update((b"," if first else b"") + rows[1:-1])
    digest.update(b"]]")
    return digest.hexdigest()


def check_index(spec: DatasetSpec, index: pd.DataFrame, digest: str) -> None:
    """Raises ValueError if spec and index are not those that `prepare` wrote. Reads no frames."""
    missing = [column for column in COLUMNS if column not in index]
    if missing:
        raise ValueError(f"index.parquet lacks {', '.join(missing)}")
    if (actual := store_digest(spec, index)) != digest:
        raise ValueError(f"spec.json or index.parquet was changed: digest {actual[:8]}, done.json says {digest[:8]}")
    check_layout(index)


def check_layout(index: pd.DataFrame) -> None:
    """Raises ValueError unless the videos fill `frames.bin` without gaps, and all training videos precede the test videos."""
    offsets, lengths = (index[name].to_numpy(np.int64) for name in ("offset", "num_frames"))
    order = np.argsort(offsets, kind="stable")
    offsets, lengths, in_test = offsets[order], lengths[order], (index["split"] == "test").to_numpy(bool)[order]
    without_gaps = (offsets + lengths == lengths.cumsum()).all()
    if not (without_gaps and (in_test[:-1] <= in_test[1:]).all()):
        raise ValueError("the videos in frames.bin have gaps, or test videos precede training videos")


def check_length(folder: Path, spec: DatasetSpec, index: pd.DataFrame) -> None:
    """Raises ValueError unless `frames.bin` has as many bytes as the index says."""
    expected = int(index["num_frames"].sum()) * spec.size * spec.size * 3
    path = folder / "frames.bin"
    actual = path.stat().st_size if path.is_file() else 0
    if actual != expected:
        raise ValueError(f"frames.bin has {actual:,} bytes, its index says {expected:,}")
