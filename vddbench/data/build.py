"""Builds a prepared store: decodes in parallel, appends in order, hashes everything and writes done.json last.

Worker processes decode the videos (workers.py). This process appends their frames to `frames.bin` and writes each video into a
journal (journal.py); finish.py completes the store. Training videos come first, sorted by id, whatever the number of workers.
Memory and scratch space stay bounded for a dataset of any size. If the process is killed at any moment, the next run resumes.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vddbench.data.fill import fill
from vddbench.data.finish import warn_of_shared, warn_of_short, write_store
from vddbench.data.frames_check import check_frames
from vddbench.data.journal import Journal
from vddbench.data.listing import ABSENT, by_id, check_listed
from vddbench.data.sources.source import ON_DISK, Source
from vddbench.data.store import Store, store_path
from vddbench.data.store_files import read_done
from vddbench.data.store_folder import explained, locked, rebuilding, swap, sweep
from vddbench.data.workers import Render, num_cores
from vddbench.spec import NAME_PATTERN, DatasetSpec, Video
from vddbench.system.files import canonical_json
from vddbench.system.progress import say

VERSION = 1  # version of the frames: increase it when the same videos and spec would give different stored frames


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The result of `prepare`. already: a complete store existed. num_resumed: videos that an earlier run had stored."""

    store: Store
    already: bool
    num_resumed: int
    problems: dict[str, int]  # reason -> how many videos were left out; the store's problems.csv names them
    seconds: float
    num_repeated: int  # videos with fewer than T frames, whose frames repeat


def build_store(
    name: str,
    spec: DatasetSpec,
    videos: Iterable[Video],
    *,
    unlisted: Iterable[str] = (),
    render: Render | None = None,
    workers: int | None = None,
    force: bool = False,
) -> Prepared:
    """Writes the store `name`, or resumes it.

    unlisted: videos in the user's copy of a pinned dataset that do not belong to it. render: makes the frames of a procedural
    dataset. force: rebuilds a finished store beside the old one, which it replaces at the end.

    Raises ValueError if a pinned dataset's videos are not the pinned ones, if the existing store has other videos or options,
    or if another process prepares it; OSError if the disk is full or the folder not writable.
    """
    check_name(name)
    place = store_path(name)
    with locked(place), explained(name, place):
        return build_locked(name, spec, videos, unlisted=unlisted, render=render, workers=workers, force=force)


def build_locked(
    name: str,
    spec: DatasetSpec,
    videos: Iterable[Video],
    *,
    unlisted: Iterable[str] = (),
    render: Render | None = None,
    source: Source = ON_DISK,
    workers: int | None = None,
    force: bool = False,
) -> Prepared:
    """`build_store` for a process that holds the store's lock. source: the place of the videos."""
    started = time.monotonic()
    place = store_path(name)
    listed = by_id(videos)
    source_bytes = dict.fromkeys(listed, 0) if render else source.sizes(listed)
    absent = dict.fromkeys(listed.keys() - source_bytes.keys(), ABSENT)
    rebuilt = swap(place)  # True if a run with --force was killed after it had written everything
    inputs = inputs_hash(spec.from_anywhere(), listed, source_bytes)
    if (place / "done.json").is_file() and (not force or (rebuilt and stored_inputs(place) == inputs)):
        return report(already_prepared(name, place, spec, inputs))
    check_listed(name, spec, listed, absent, unlisted)
    building = rebuilding(place) if (place / "done.json").is_file() else place
    existing = {video: listed[video] for video in listed if video not in absent}
    building.mkdir(exist_ok=True)
    sweep(building)
    run = inputs_hash(spec, listed, {})
    with closing(Journal(building, run, spec.clip_bytes // spec.frames, source_bytes)) as journal:
        problems = absent | fill(journal, building, spec, existing, render, source, workers or num_cores())
        done = write_store(building, name, spec, listed, journal, problems, inputs)
        num_resumed = journal.num_resumed
    sweep(building)
    swap(place)
    seconds, store = time.monotonic() - started, Store.open(name)
    return report(
        Prepared(
            store=store, already=False, num_resumed=num_resumed, problems=done["problems"], seconds=seconds,
            num_repeated=done["num_repeated"],
        )
    )  # fmt: skip


def check_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(f"dataset name {name[:80]!r}: allowed are up to 40 small letters, digits and _, e.g. my_clips")


def inputs_hash(spec: DatasetSpec, videos: dict[str, Video], source_bytes: dict[str, int]) -> str:
    """Identifies what a store is made from: spec, videos and file sizes, but not where the files are."""
    rows = [[v.id, v.label, v.split, v.group, source_bytes.get(v.id)] for v in videos.values()]
    return hashlib.sha256(canonical_json([VERSION, spec.model_dump(mode="json"), rows])).hexdigest()


def stored_inputs(place: Path) -> str | None:
    """The `inputs_hash` of a finished store; None if its done.json is damaged."""
    try:
        return str(read_done(place)["inputs"])
    except (ValueError, LookupError, TypeError):
        return None


def already_prepared(name: str, place: Path, spec: DatasetSpec, inputs: str) -> Prepared:
    """Opens and checks a finished store. Raises ValueError if it is damaged or was made from other videos or options."""
    store = Store.open(name)
    sweep(place)
    (place / "journal").unlink(missing_ok=True)  # left by a run that was killed just before it ended
    if rebuilding(place).is_dir():
        say(f"an interrupted run with --force is in {rebuilding(place)}: resume it with --force, or delete it")
    done = read_done(place)
    if done.get("inputs") != inputs:
        before, now = dict(store.spec), dict(spec)
        fields = [field for field in now if now[field] != before[field] and field not in {"num_missing", "origin"}]
        changed = ", ".join(fields) or "the list of videos or their sizes"
        raise ValueError(
            f"{name} is already prepared at {place}, and differs in: {changed}. Prepare this under another name, or "
            "replace it with --force (submissions and records of the old one then no longer match)"
        )
    check_frames(store)
    return Prepared(
        store=store, already=True, num_resumed=0, problems=done.get("problems", {}), seconds=0.0,
        num_repeated=done.get("num_repeated", 0),
    )  # fmt: skip


def report(prepared: Prepared) -> Prepared:
    """Prints the numbers of videos in the store, and how many were left out for which reasons."""
    store = prepared.store
    counts = f"{len(store.train):,} train ({len(store.validation):,} of them validation) and {len(store.test):,} test videos"
    how = "was already prepared" if prepared.already else f"prepared in {prepared.seconds:,.1f} s"
    say(f"{store.name} {how}: {counts}, {store.spec.num_classes} classes, at {store.path}")
    if prepared.problems:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in prepared.problems.items())
        left_out = f"{store.num_missing:,} videos left out ({reasons}): {store.path / 'problems.csv'}"
        say(left_out, style="yellow")
    warn_of_short(store.spec, store.index, prepared.num_repeated)
    warn_of_shared(store.index)
    return prepared
