"""Lists the datasets and their states for `vddbench datasets`; reads and checks a whole store for `datasets verify`."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from tabulate import tabulate

from vddbench import lookup
from vddbench.data.fingerprint import distance
from vddbench.data.finish import fingerprint_of, warn_of_shared
from vddbench.data.frames_check import check_frames
from vddbench.data.pinned import check_counts, check_pinned
from vddbench.data.store import Store, store_path
from vddbench.data.store_files import check_length, damage_explained, read_head
from vddbench.data.store_folder import lock_of, rebuilding
from vddbench.spec import DatasetSpec
from vddbench.system.home import home
from vddbench.system.locks import is_locked
from vddbench.system.progress import clean, say

ROUNDING = 0.01  # grey levels: tolerated, because sums are added in another order and stored in 4 bytes
HEADINGS = ("dataset", "state", "classes", "clip", "train", "validation", "test", "missing", "MB", "digest", "where")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A dataset of vddbench/data/datasets/, or a store of the user's own videos.

    Counts are None unless the store is complete. For an incomplete store, `videos` is the number of videos stored so far. The
    `validation` videos are part of the `train` videos.
    """

    name: str
    state: str  # prepared, being prepared, interrupted, damaged, not prepared
    num_classes: int | None
    clip: str  # T x H x W
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    missing: int | None = None
    videos: int | None = None
    bytes: int = 0  # on the disk
    digest: str = ""
    fingerprint: str = ""
    path: str = ""
    problem: str = ""


def inventory() -> list[Entry]:
    """All datasets by name, as their stores' files describe them. Nothing is hashed; `verify` does that."""
    stores = home() / "prepared"
    prepared = [place.name for place in stores.glob("[a-z0-9]*") if place.is_dir()] if stores.is_dir() else []
    own = set(prepared) - set(lookup.names("dataset"))
    return [entry_of(name) for name in sorted({*lookup.usable("dataset"), *own})]


def entry_of(name: str) -> Entry:
    place = store_path(name)
    if not place.is_dir():
        return Entry(name=name, state="not prepared", **shape_of(spec_of(name)))
    facts: dict[str, Any] = {"name": name, "path": str(place), "bytes": bytes_in(place)}
    if not (place / "done.json").is_file():
        state = "being prepared" if is_locked(lock_of(place)) else "interrupted"
        return Entry(state=state, videos=journaled(place), **facts, **shape_of(spec_of(name)))
    try:
        with damage_explained(name, place):
            spec, digest, fingerprint, missing = read_head(place)
            index = pd.read_parquet(place / "index.parquet", columns=["split", "validation", "num_frames"])
            check_length(place, spec, index)
    except ValueError as error:
        return Entry(state="damaged", problem=str(error), **facts, **shape_of(spec_of(name)))
    splits = index["split"].value_counts()
    return Entry(
        state="prepared",
        train=int(splits.get("train", 0)),
        validation=int(index["validation"].sum()),
        test=int(splits.get("test", 0)),
        missing=missing,
        digest=digest,
        fingerprint=fingerprint,
        **facts,
        **shape_of(spec),
    )


def spec_of(name: str) -> DatasetSpec | None:
    """The spec of a built-in dataset; None for another name."""
    return lookup.load("dataset", name).SPEC if name in lookup.names("dataset") else None


def shape_of(spec: DatasetSpec | None) -> dict[str, Any]:
    if spec is None:
        return {"num_classes": None, "clip": ""}
    return {"num_classes": spec.num_classes, "clip": f"{spec.frames}x{spec.size}x{spec.size}"}


def bytes_in(place: Path) -> int:
    """The size of a store, including the copy that --force builds beside it."""
    folders = [place, rebuilding(place), place.with_name(f".{place.name}.old")]
    total = 0
    for where, _, names in (entry for folder in folders for entry in os.walk(folder)):
        for name in names:
            with suppress(FileNotFoundError):  # `prepare` has removed or renamed it since
                total += Path(where, name).stat().st_size
    return total


def journaled(place: Path) -> int:
    """The number of videos in an unfinished store."""
    path = place / "journal"
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        return max(0, sum(1 for _ in file) - 1)  # the first line is its header


def as_dicts(entries: list[Entry]) -> list[dict[str, Any]]:
    return [asdict(entry) for entry in entries]


def as_table(entries: list[Entry]) -> str:
    """One line for each dataset; below them the problems of damaged stores."""
    rows = [row_of(entry) for entry in entries]
    text = tabulate(
        rows, HEADINGS, tablefmt="simple", disable_numparse=True, colalign=("left", "left", *8 * ("right",), "left")
    )
    problems = [f"{entry.name}: {entry.problem}" for entry in entries if entry.problem]
    return clean("\n".join([text, *problems]))


def row_of(entry: Entry) -> list[str]:
    state = entry.state if entry.videos is None else f"{entry.state}, {entry.videos:,} videos"
    counts = [f"{n:,}" if n is not None else "-" for n in (entry.train, entry.validation, entry.test, entry.missing)]
    size = f"{entry.bytes / 1e6:,.1f}" if entry.path else "-"
    num_classes = "-" if entry.num_classes is None else str(entry.num_classes)
    return [entry.name, state, num_classes, entry.clip or "-", *counts, size, entry.digest[:12] or "-", entry.path or "-"]


def verify(name: str) -> Store:
    """Reads all of a store and checks it. Raises LookupError if it does not exist, ValueError if it is damaged."""
    started = time.monotonic()
    store = Store.open(name)  # spec, index and digest agree, and frames.bin has the right length
    check_rows(store)
    check_pinned(store)
    check_frames(store)
    check_fingerprint(store)
    seconds, frames = time.monotonic() - started, int(store.index["num_frames"].sum())
    size = (store.path / "frames.bin").stat().st_size
    counts = f"{len(store.index):,} videos ({store.num_missing:,} missing), {frames:,} frames, {size / 1e6:,.1f} MB"
    say(f"{name} is complete and undamaged: {counts}, read in {seconds:,.1f} s; digest {store.digest}")
    warn_of_shared(store.index)
    return store


def check_rows(store: Store) -> None:
    """Raises ValueError if the index contradicts the spec: `prepare` does not write such a store."""
    spec, index = store.spec, store.index
    in_train = index["split"] == "train"
    wrong = {
        "ids appear twice": index["video"].duplicated(),
        "labels are not classes": ~index["label"].between(0, spec.num_classes - 1),
        "splits are neither train nor test": ~index["split"].isin(["train", "test"]),
        "validation videos are not in train": index["validation"].astype(bool) & ~in_train,
        "videos are shorter than a clip": index["num_frames"] < spec.frames,
    }
    for fault, rows in wrong.items():
        if rows.any():
            raise ValueError(f"store {store.path} is damaged: {fault}: {', '.join(index['video'][rows][:5])}; prepare it again")
    if untrained := set(range(spec.num_classes)) - set(index["label"][in_train]):
        names = ", ".join(spec.class_names[label] for label in sorted(untrained)[:5])
        raise ValueError(f"store {store.path} is damaged: no training video in {names}; prepare it again")
    check_counts(store, spec, index)


def check_fingerprint(store: Store) -> None:
    """Raises ValueError if the stored fingerprint does not belong to the store's frames."""
    if distance(store.fingerprint, fingerprint_of(store.path, store.spec, store.index)) > ROUNDING:
        raise ValueError(f"store {store.path} is damaged: its fingerprint belongs to other frames; prepare it again")
