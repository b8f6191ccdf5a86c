"""Reads a prepared store: `$VDDBENCH_HOME/prepared/NAME/{frames.bin, index.parquet, spec.json, done.json}`.

`frames.bin` holds uint8 [all frames, H, W, C], training videos first; a clip is T consecutive stored frames of one video, so
reading one is a single contiguous copy. `prepare` writes `done.json` last: a folder without it is not a store yet.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd

from vddbench.data.fingerprint import StoreId
from vddbench.data.store_files import OF_SPLIT, check_index, check_length, damage_explained, read_head, read_index
from vddbench.lookup import names, unknown
from vddbench.spec import DatasetSpec, Fingerprint
from vddbench.system.allocator import new_memory
from vddbench.system.home import home

if TYPE_CHECKING:
    import datasets
    import torch

Split3 = Literal["train", "validation", "test"]


def store_path(name: str) -> Path:
    return home() / "prepared" / name


def prepared_names() -> list[str]:
    return sorted(p.parent.name for p in (home() / "prepared").glob("[a-z0-9]*/done.json"))


@dataclass(frozen=True, kw_only=True)
class Split:
    """The videos of one split, and a map-style torch dataset: item i is (centre clip of video i, label).

    The rows of `index` are numbered 0..V-1. Frames stay on disk until they are accessed, also in the worker processes of a
    DataLoader, which map the same file again.
    """

    name: Split3
    dataset: str
    digest: str  # of the whole store
    fingerprint: Fingerprint | None = None  # of the whole store
    spec: DatasetSpec
    index: pd.DataFrame
    frames: np.ndarray  # memory map [frames of train, or of test, H, W, C] uint8

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, video: int) -> tuple[torch.Tensor, int]:
        """The centre clip of a video, uint8 [T, H, W, C], and its label."""
        rows = np.array([range(len(self))[video]])
        return self.clips(rows, self.centre_starts(rows))[0], int(self.labels[rows[0]])

    def __getstate__(self) -> dict[str, Any]:
        """Pickles where the frames are, not the frames."""
        frames = self.frames
        if isinstance(frames, np.memmap) and frames.filename is not None:
            return {**self.__dict__, "frames": (frames.filename, frames.offset, frames.shape)}
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["frames"], tuple):
            filename, offset, shape = state["frames"]
            state = {**state, "frames": np.memmap(filename, np.uint8, "r", offset, shape)}
        self.__dict__.update(state)

    @property
    def id(self) -> StoreId:
        return StoreId(self.digest, self.fingerprint)

    @cached_property
    def labels(self) -> np.ndarray:
        """The labels, int64 [V]."""
        return self.index["label"].to_numpy(np.int64, copy=True)  # writable: torch warns of read-only arrays

    @cached_property
    def offsets(self) -> np.ndarray:
        """The first frame of each video in `frames`, int64 [V]."""
        return self.index["offset"].to_numpy(np.int64)

    @cached_property
    def last_starts(self) -> np.ndarray:
        """The largest start of a clip in each video, int64 [V]; the smallest is 0."""
        num_frames: np.ndarray = self.index["num_frames"].to_numpy(np.int64)
        return num_frames - self.spec.frames

    def clips(self, videos: np.ndarray, starts: np.ndarray, out: np.ndarray | None = None) -> torch.Tensor:
        """Reads clips, uint8 [n, T, H, W, C], into `out` if given: clip i is video `videos[i]` from frame `starts[i]` on."""
        import torch  # not at the top: `prepare` also opens stores, and torch takes 400 MB

        if out is None:
            out = new_memory((len(videos), *self.spec.clip_shape))
        first = self.offsets[videos] + starts
        if len(videos) and ((starts < 0) | (starts > self.last_starts[videos])).any():
            raise IndexError("a clip would leave its video")  # a mistake of the caller: it would read a neighbour's frames
        for i, begin in enumerate(first.tolist()):
            out[i] = self.frames[begin : begin + self.spec.frames]
        return torch.from_numpy(out)

    def random_starts(self, videos: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """A start for each of these videos, int64 [n], uniform over all possible starts."""
        return np.asarray(rng.integers(0, self.last_starts[videos] + 1))

    def centre_starts(self, videos: np.ndarray) -> np.ndarray:
        """The start of the clip in the middle of each of these videos, int64 [n]."""
        return np.asarray(self.last_starts[videos] // 2)

    def even_starts(self, views: int) -> np.ndarray:
        """Starts int64 [V, views], evenly spaced from the first to the last possible start, rounded down."""
        return self.last_starts[:, None] * np.arange(views) // max(views - 1, 1)

    def only(self, rows: np.ndarray) -> Split:
        """The split with only the videos for which `rows`, bool [V], is true."""
        kept = self.index[rows].reset_index(drop=True)
        return replace(self, index=kept)


@dataclass(frozen=True, kw_only=True)
class Store:
    """A prepared dataset with its test videos. Distillers and training receive a `Split` of train instead."""

    name: str
    path: Path
    spec: DatasetSpec
    digest: str
    fingerprint: Fingerprint
    num_missing: int
    index: pd.DataFrame

    @classmethod
    def open(cls, name: str, path: Path | None = None) -> Store:
        """Opens a store and checks it without reading frames.

        Raises LookupError if it was never prepared, ValueError if it is incomplete or damaged.
        """
        path = path or store_path(name)
        if not path.is_dir():
            bundled = names("dataset")
            if name in bundled:
                raise LookupError(unknown("prepared dataset", name, prepared_names()) + f"; run: vddbench prepare {name}")
            known = sorted({*bundled, *prepared_names()})
            raise LookupError(unknown("dataset", name, known) + f"; your own: vddbench prepare {name} --folder DIR")
        if not (path / "done.json").is_file():
            raise ValueError(f"store {path} is incomplete (no done.json); run its `vddbench prepare {name}` again to resume")
        with damage_explained(name, path):
            head = read_head(path)
            index = read_index(path / "index.parquet")
            check_index(head.spec, index, head.digest)
            check_length(path, head.spec, index)
        return cls(name=name, path=path, index=index, **head._asdict())

    @property
    def id(self) -> StoreId:
        return StoreId(self.digest, self.fingerprint)

    @property
    def train(self) -> Split:
        """All training videos, including the validation ones (4,662 in MiniUCF, as in papers)."""
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

    def split(self, name: str) -> Split:
        """The split "train", "validation" or "test". Raises LookupError for another name."""
        if name not in get_args(Split3):
            raise LookupError(f"no split named {name[:40]!r}; allowed: {', '.join(get_args(Split3))}")
        split: Split = getattr(self, name)
        return split

    def _split(self, name: Split3, rows: pd.Series) -> Split:
        """Maps only the train part or the test part of `frames.bin`.

        A map begins at a whole page, so the map of test may include the end of train. The map of train begins with the file and
        ends before the first test frame, so it contains no test frame.
        """
        part = (self.index["split"] == ("test" if name == "test" else "train")).to_numpy(bool)
        begin = int(self.index["offset"].to_numpy(np.int64)[part].min())
        num_frames = int(self.index["num_frames"].to_numpy(np.int64)[part].sum())
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

    def to_hf(self, split: str) -> datasets.Dataset:
        """The centre clips of a split as a `datasets.Dataset`; see hf_dataset.py."""
        from vddbench.data.hf_dataset import dataset_of

        return dataset_of(self.split(split), split)


def open_train(name: str) -> Split:
    """The train split of a prepared dataset, the only one that distillers receive."""
    return Store.open(name).train


def load(name: str, split: str) -> Split:
    """The split "train", "validation" or "test" of a prepared dataset, usable in a `torch.utils.data.DataLoader`.

    Raises LookupError if the dataset was never prepared or there is no such split, ValueError if its store is damaged.
    """
    return Store.open(name).split(split)
