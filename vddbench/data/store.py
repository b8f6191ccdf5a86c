"""Reads a prepared store: `$VDDBENCH_HOME/prepared/NAME/{frames.bin, index.parquet, spec.json, done.json}`.

`frames.bin` holds uint8 [all frames, H, W, C], those of train first; a clip is T consecutive stored frames of one video, so
reading one is a single contiguous copy. `done.json` is written last by `prepare`: without it the store does not exist.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from pydantic import ValidationError

from vddbench.data.fingerprint import StoreId
from vddbench.data.index_file import OF_SPLIT, check_index, read_index
from vddbench.lookup import unknown
from vddbench.spec import DatasetSpec, Fingerprint, Split3
from vddbench.system.home import home

if TYPE_CHECKING:
    import torch

HUGE_PAGE = 2 << 20  # bytes, of x86-64 and most ARM


def store_path(name: str) -> Path:
    return home() / "prepared" / name


def prepared_names() -> list[str]:
    return sorted(p.parent.name for p in (home() / "prepared").glob("[a-z0-9]*/done.json"))


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

    def clips(self, videos: np.ndarray, starts: np.ndarray, out: np.ndarray | None = None) -> torch.Tensor:
        """[n, T, H, W, C] uint8: clip i is video `videos[i]` from its stored frame `starts[i]`. out: read to where."""
        import torch  # `prepare`, which opens stores too, has no use for its 400 MB

        if out is None:
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
