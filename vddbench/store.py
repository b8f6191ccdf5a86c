"""Reads a prepared store: `$VDDBENCH_HOME/prepared/NAME/{frames.bin, index.parquet, spec.json, done.json}`.

`frames.bin` holds uint8 [all frames, H, W, C], those of train first; a clip is T consecutive stored frames of one video, so
reading one is a single contiguous copy. `done.json` is written last by `prepare`: without it the store does not exist.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from vddbench.atomic import canonical_json
from vddbench.lookup import unknown
from vddbench.place import home
from vddbench.spec import DatasetSpec, Split3

if TYPE_CHECKING:
    import torch

COLUMNS = ("video", "label", "split", "validation", "group", "offset", "num_frames", "stride", "sha256", "frames_sha256")
DIGESTED = ["video", "label", "split", "validation", "group", "num_frames", "stride", "frames_sha256"]


def store_path(name: str) -> Path:
    return home() / "prepared" / name


def prepared_names() -> list[str]:
    return sorted(p.parent.name for p in (home() / "prepared").glob("[a-z0-9]*/done.json"))


def store_digest(spec: DatasetSpec, index: pd.DataFrame) -> str:
    """sha256 of the spec and of every video's place, label and pixels; not of paths, order in `frames.bin`, source files or
    where they came from."""
    rows = index[DIGESTED].to_numpy(object).tolist()
    return hashlib.sha256(canonical_json([spec.from_anywhere().model_dump(mode="json"), rows])).hexdigest()


def check_layout(index: pd.DataFrame) -> None:
    """Raises ValueError unless the videos fill `frames.bin` one after the other, all of train before those of test."""
    ordered = index.sort_values("offset")
    ends = ordered["num_frames"].to_numpy(np.int64).cumsum()
    one_after_another = (ordered["offset"].to_numpy(np.int64) + ordered["num_frames"].to_numpy(np.int64) == ends).all()
    if not (one_after_another and (ordered["split"] == "test").is_monotonic_increasing):
        raise ValueError("the videos in frames.bin don't follow each other, those of train first")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Videos of one split. The rows of `index` are numbered 0..V-1 here; frames stay on disk until asked for."""

    name: Split3
    dataset: str
    digest: str  # of the whole store
    spec: DatasetSpec
    index: pd.DataFrame
    frames: np.ndarray  # memory map [frames of train, or of test, H, W, C] uint8

    def __len__(self) -> int:
        return len(self.index)

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

        out = torch.empty((len(videos), *self.spec.clip_shape), dtype=torch.uint8)
        view = out.numpy()
        first = self.offsets[videos] + starts
        if len(videos) and ((starts < 0) | (starts > self.last_starts[videos])).any():
            raise IndexError("a clip would leave its video")  # our own mistake: it would read a neighbour's frames
        for i, begin in enumerate(first.tolist()):
            view[i] = self.frames[begin : begin + self.spec.frames]
        return out

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
        return Split(name=self.name, dataset=self.dataset, digest=self.digest, spec=self.spec, index=kept, frames=self.frames)


def check_index(spec: DatasetSpec, index: pd.DataFrame, digest: str) -> None:
    """Raises ValueError when spec and index are not those that `prepare` wrote. Reads no frames."""
    lacking = [column for column in COLUMNS if column not in index]
    if lacking:
        raise ValueError(f"index.parquet lacks {', '.join(lacking)}, maybe an earlier version wrote it")
    if (found := store_digest(spec, index)) != digest:
        raise ValueError(f"spec.json or index.parquet was changed: digest {found[:8]}, done.json says {digest[:8]}")
    check_layout(index)


@dataclass(frozen=True, kw_only=True)
class Store:
    """A prepared dataset. Only `evaluate` opens this; distillers and training get a `Split` of train."""

    name: str
    path: Path
    spec: DatasetSpec
    digest: str
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
        try:
            done: dict[str, Any] = json.loads((path / "done.json").read_bytes())
            spec = DatasetSpec.model_validate_json((path / "spec.json").read_bytes())
            index = pd.read_parquet(path / "index.parquet")
            digest, num_missing = str(done["digest"]), int(done["num_missing"])
            check_index(spec, index, digest)
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(f"store {path} is damaged ({reason}); run `vddbench prepare {name} --force`") from error
        store = cls(name=name, path=path, spec=spec, digest=digest, num_missing=num_missing, index=index)
        expected = int(index["num_frames"].sum()) * spec.size * spec.size * 3
        found = (path / "frames.bin").stat().st_size if (path / "frames.bin").is_file() else 0
        if found != expected:
            raise ValueError(
                f"store {path} is damaged: frames.bin has {found:,} bytes, its index says {expected:,}; "
                f"run `vddbench prepare {name} --force`"
            )
        return store

    def _split(self, name: Split3, rows: pd.Series) -> Split:
        """The chosen videos, and of the file only their side is mapped. Maps begin at whole pages, so that of test may show
        the end of train; train begins with the file, and its map ends before the first test frame.
        """
        side = self.index[self.index["split"] == ("test" if name == "test" else "train")]
        begin, num_frames = int(side["offset"].min()), int(side["num_frames"].sum())
        shape = (num_frames, self.spec.size, self.spec.size, 3)
        offset = begin * self.spec.size * self.spec.size * 3
        frames = np.memmap(self.path / "frames.bin", np.uint8, "r", offset, shape)
        index = self.index[rows].reset_index(drop=True)
        index["offset"] -= begin
        return Split(
            name=name,
            dataset=self.name,
            digest=self.digest,
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
