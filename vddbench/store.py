"""Reads a prepared store: `$VDDBENCH_HOME/prepared/NAME/{frames.bin, index.parquet, spec.json, done.json}`.

`frames.bin` holds uint8 [all frames, H, W, C], those of train first; a clip is T consecutive stored frames of one video, so
reading one is a single contiguous copy. `done.json` is written last by `prepare`: without it the store does not exist.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import pandas as pd
from pydantic import ValidationError

from vddbench.atomic import canonical_json
from vddbench.fingerprint import StoreId
from vddbench.lookup import unknown
from vddbench.place import home
from vddbench.spec import DatasetSpec, Fingerprint, Split3

if TYPE_CHECKING:
    import torch

COLUMNS = ("video", "label", "split", "validation", "group", "offset", "num_frames", "stride", "sha256", "frames_sha256")
ROWS = ["video", "label", "split", "validation", "group", "num_frames", "stride"]
DIGESTED = [*ROWS, "frames_sha256"]
OF_SPLIT = [column for column in COLUMNS if column not in {"sha256", "frames_sha256"}]  # hashes are most of the memory
HUGE_PAGE = 2 << 20  # bytes, of x86-64 and most ARM
AT_A_TIME = 16_384  # rows of the index that are written, read and hashed: opening a store then takes little more than its index


def store_path(name: str) -> Path:
    return home() / "prepared" / name


def prepared_names() -> list[str]:
    return sorted(p.parent.name for p in (home() / "prepared").glob("[a-z0-9]*/done.json"))


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


def new_memory(shape: tuple[int, ...]) -> np.ndarray:
    """uint8, all 0, of huge pages where the system has them: to get ordinary ones takes four times as long as to fill them."""
    num_bytes = math.prod(shape)
    if num_bytes < HUGE_PAGE or not hasattr(mmap, "MADV_HUGEPAGE"):
        return np.zeros(shape, np.uint8)
    memory = mmap.mmap(-1, -(-num_bytes // HUGE_PAGE) * HUGE_PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):  # a kernel without
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8, num_bytes).reshape(shape)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Videos of one split. The rows of `index` are numbered 0..V-1 here; frames stay on disk until asked for."""

    name: Split3
    dataset: str
    digest: str  # of the whole store
    fingerprint: Fingerprint | None = None  # of the whole store
    spec: DatasetSpec
    index: pd.DataFrame
    frames: np.ndarray  # memory map [frames of train, or of test, H, W, C] uint8

    def __len__(self) -> int:
        return len(self.index)

    @property
    def id(self) -> StoreId:
        return StoreId(self.digest, self.fingerprint)

    @cached_property
    def labels(self) -> np.ndarray:
        """[V] int64."""
        return self.index["label"].to_numpy(np.int64, copy=True)  # writable: torch warns of read-only arrays

    @cached_property
    def offsets(self) -> np.ndarray:
        return self.index["offset"].to_numpy(np.int64)

    @cached_property
    def last_starts(self) -> np.ndarray:
        """[V] int64: the largest start of a clip in each video; starts are 0..last."""
        num_frames: np.ndarray = self.index["num_frames"].to_numpy(np.int64)
        return num_frames - self.spec.frames

    def clips(self, videos: np.ndarray, starts: np.ndarray) -> torch.Tensor:
        """[n, T, H, W, C] uint8: clip i is video `videos[i]` from its stored frame `starts[i]`."""
        import torch  # `prepare`, which opens stores too, has no use for its 400 MB

        out = new_memory((len(videos), *self.spec.clip_shape))
        first = self.offsets[videos] + starts
        if len(videos) and ((starts < 0) | (starts > self.last_starts[videos])).any():
            raise IndexError("a clip would leave its video")  # our own mistake: it would read a neighbour's frames
        for i, begin in enumerate(first.tolist()):
            out[i] = self.frames[begin : begin + self.spec.frames]
        return torch.from_numpy(out)

    def random_starts(self, videos: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """[n] int64, uniform over each video's starts."""
        return np.asarray(rng.integers(0, self.last_starts[videos] + 1))

    def centre_starts(self, videos: np.ndarray) -> np.ndarray:
        return np.asarray(self.last_starts[videos] // 2)

    def even_starts(self, views: int) -> np.ndarray:
        """[V, views] int64: evenly spaced from the first start to the last, the middle one rounded down."""
        return self.last_starts[:, None] * np.arange(views) // max(views - 1, 1)

    def only(self, rows: np.ndarray) -> Split:
        """The videos where `rows` (bool [V]) is true."""
        kept = self.index[rows].reset_index(drop=True)
        return replace(self, index=kept)


def check_index(spec: DatasetSpec, index: pd.DataFrame, digest: str) -> None:
    """Raises ValueError when spec and index are not those that `prepare` wrote. Reads no frames."""
    lacking = [column for column in COLUMNS if column not in index]
    if lacking:
        raise ValueError(f"index.parquet lacks {', '.join(lacking)}, maybe an earlier version wrote it")
    if (found := store_digest(spec, index)) != digest:
        raise ValueError(f"spec.json or index.parquet was changed: digest {found[:8]}, done.json says {digest[:8]}")
    check_layout(index)


@contextmanager
def damage_said(name: str, path: Path) -> Iterator[None]:
    """Whatever is wrong with the files of a store becomes a ValueError that says what to do."""
    try:
        yield
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"store {path} is damaged ({reason}); run `vddbench prepare {name} --force`") from error


class Head(NamedTuple):
    """What a finished store says of itself."""

    spec: DatasetSpec
    digest: str
    fingerprint: Fingerprint | None
    num_missing: int


def read_head(path: Path) -> Head:
    """Unchecked, as its files say."""
    done: dict[str, Any] = json.loads((path / "done.json").read_bytes())
    spec = DatasetSpec.model_validate_json((path / "spec.json").read_bytes())
    return Head(spec, str(done["digest"]), done.get("fingerprint"), int(done["num_missing"]))


def check_length(path: Path, spec: DatasetSpec, index: pd.DataFrame) -> None:
    """Raises ValueError when `frames.bin` has not as many bytes as the index says."""
    expected = int(index["num_frames"].sum()) * spec.size * spec.size * 3
    found = (path / "frames.bin").stat().st_size if (path / "frames.bin").is_file() else 0
    if found != expected:
        raise ValueError(f"frames.bin has {found:,} bytes, its index says {expected:,}")


@dataclass(frozen=True, kw_only=True)
class Store:
    """A prepared dataset. Only `evaluate` opens this; distillers and training get a `Split` of train."""

    name: str
    path: Path
    spec: DatasetSpec
    digest: str
    fingerprint: Fingerprint | None  # None: an earlier version prepared it
    num_missing: int
    index: pd.DataFrame

    @classmethod
    def open(cls, name: str, path: Path | None = None) -> Store:
        """Raises LookupError when it was never prepared, ValueError when it is incomplete or damaged."""
        path = path or store_path(name)
        if not path.is_dir():
            raise LookupError(unknown("prepared dataset", name, prepared_names()) + f"; run: vddbench prepare {name}")
        if not (path / "done.json").is_file():
            raise ValueError(f"store {path} is incomplete (no done.json); run its `vddbench prepare {name}` again to resume")
        with damage_said(name, path):
            head = read_head(path)
            index = read_index(path / "index.parquet")
            check_index(head.spec, index, head.digest)
            check_length(path, head.spec, index)
        return cls(name=name, path=path, index=index, **head._asdict())

    @property
    def id(self) -> StoreId:
        return StoreId(self.digest, self.fingerprint)

    def _split(self, name: Split3, rows: pd.Series) -> Split:
        """The chosen videos, and of the file only their side is mapped. Maps begin at whole pages, so that of test may show
        the end of train; train begins with the file, and its map ends before the first test frame.
        """
        side = (self.index["split"] == ("test" if name == "test" else "train")).to_numpy(bool)
        begin = int(self.index["offset"].to_numpy(np.int64)[side].min())
        num_frames = int(self.index["num_frames"].to_numpy(np.int64)[side].sum())
        shape = (num_frames, self.spec.size, self.spec.size, 3)
        offset = begin * self.spec.size * self.spec.size * 3
        frames = np.memmap(self.path / "frames.bin", np.uint8, "r", offset, shape)
        index = self.index[OF_SPLIT][rows].reset_index(drop=True)
        index["offset"] -= begin
        return Split(
            name=name,
            dataset=self.name,
            digest=self.digest,
            fingerprint=self.fingerprint,
            spec=self.spec,
            index=index,
            frames=frames,
        )

    @property
    def train(self) -> Split:
        """All training videos, the validation ones included (the field's 4,662 of MiniUCF)."""
        return self._split("train", self.index["split"] == "train")

    @property
    def holdout_train(self) -> Split:
        """Training videos without the validation ones: what a method is tuned on."""
        return self._split("train", (self.index["split"] == "train") & ~self.index["validation"])

    @property
    def validation(self) -> Split:
        return self._split("validation", (self.index["split"] == "train") & self.index["validation"])

    @property
    def test(self) -> Split:
        return self._split("test", self.index["split"] == "test")


def open_train(name: str) -> Split:
    """The train split of a prepared dataset and nothing else: what distillers are given."""
    return Store.open(name).train
