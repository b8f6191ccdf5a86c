"""Builds a prepared store: decode in parallel, append in order, hash everything, write done.json last."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from vddbench.data.fill import fill
from vddbench.data.finish import check_frames, fingerprint_of, warn_of_shared, write, write_store
from vddbench.data.journal import Journal
from vddbench.data.listing import ABSENT, by_id, check_listed
from vddbench.data.sources.source import ON_DISK, Source
from vddbench.data.store import Store, store_path
from vddbench.data.store_folder import explained, locked, rebuilding, swap, sweep
from vddbench.data.workers import Render, num_cores
from vddbench.spec import NAME_PATTERN, DatasetSpec, Video
from vddbench.system.files import canonical_json
from vddbench.system.progress import say

VERSION = 1  # of what is stored: raised when the same videos and spec would give other frames


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What `prepare` did. `already`: the store was there and is whole. `num_resumed`: videos an earlier run had."""

    store: Store
    already: bool
    num_resumed: int
    problems: dict[str, int]  # reason -> how many videos were left out; which ones is in the store's problems.csv
    seconds: float


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
    """Writes the store `name`, or resumes it. `unlisted`: what a pinned dataset's copy has and must not have; `render`
    makes the frames of a procedural one. With `force` a finished store is rebuilt beside the old one and takes its place at
    the end.

    Raises ValueError when a pinned dataset's videos are not the pinned ones, when a store of other videos or options is
    there, or another process prepares it; OSError when the disk is full or the place unwritable.
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
    """`prepare`, by a process that has the store's lock. `source`: where the videos are."""
    started = time.monotonic()
    place = store_path(name)
    listed = by_id(videos)
    source_bytes = dict.fromkeys(listed, 0) if render else source.sizes(listed)
    absent = dict.fromkeys(listed.keys() - source_bytes.keys(), ABSENT)
    rebuilt = swap(place)  # by a run with --force that was killed when all was written
    inputs = hash_of(spec.from_anywhere(), listed, source_bytes)
    if (place / "done.json").is_file() and (not force or (rebuilt and inputs_of(place) == inputs)):
        return already_prepared(name, place, spec, inputs)
    check_listed(name, spec, listed, absent, unlisted)
    building = rebuilding(place) if (place / "done.json").is_file() else place
    there = {video: listed[video] for video in listed if video not in absent}
    building.mkdir(exist_ok=True)
    sweep(building)
    run = hash_of(spec, listed, {})
    with closing(Journal(building, run, spec.clip_bytes // spec.frames, source_bytes)) as journal:
        problems = absent | fill(journal, building, spec, there, render, source, workers or num_cores())
        done = write_store(building, name, spec, listed, journal, problems, inputs)
        num_resumed = journal.num_resumed
    sweep(building)
    swap(place)
    seconds = time.monotonic() - started
    store = Store.open(name)
    return said(Prepared(store=store, already=False, num_resumed=num_resumed, problems=done["problems"], seconds=seconds))


def check_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise ValueError(f"dataset name {name[:80]!r}: up to 40 small letters, digits and _, e.g. my_clips")


def hash_of(spec: DatasetSpec, videos: dict[str, Video], source_bytes: dict[str, int]) -> str:
    """Names a run: its spec and videos, not where the files are."""
    rows = [[v.id, v.label, v.split, v.group, source_bytes.get(v.id)] for v in videos.values()]
    return hashlib.sha256(canonical_json([VERSION, spec.model_dump(mode="json"), rows])).hexdigest()


def inputs_of(place: Path) -> str | None:
    """The `hash_of` that a finished store was made from; None when its done.json is damaged."""
    try:
        return str(json.loads((place / "done.json").read_bytes())["inputs"])
    except (ValueError, LookupError, TypeError):
        return None


def already_prepared(name: str, place: Path, spec: DatasetSpec, inputs: str) -> Prepared:
    """A finished store, when it was made from the same videos and options. Raises ValueError when not, or damaged."""
    store = Store.open(name)
    sweep(place)
    (place / "journal").unlink(missing_ok=True)  # of a run that was killed at its very end
    if rebuilding(place).is_dir():
        say(f"an interrupted run with --force is in {rebuilding(place)}: --force again goes on with it, or delete it")
    done = json.loads((place / "done.json").read_bytes())
    if done.get("inputs") != inputs:
        before, now = dict(store.spec), dict(spec)
        fields = [f for f in now if now[f] != before[f] and f not in {"num_missing", "origin"}]
        changed = ", ".join(fields) or "the list of videos or their sizes"
        raise ValueError(
            f"{name} is already prepared at {place}, and differs in: {changed}. Prepare this under another name, or "
            "replace it with --force (submissions and records of the old one then no longer match)"
        )
    check_frames(store)
    if store.fingerprint is None:  # an earlier version prepared it
        write(place / "done.json", canonical_json({**done, "fingerprint": fingerprint_of(place, store.spec, store.index)}))
        store = Store.open(name)
    return said(Prepared(store=store, already=True, num_resumed=0, problems=done.get("problems", {}), seconds=0.0))


def said(prepared: Prepared) -> Prepared:
    """Prints the summary: what is in the store, what was left out and why."""
    store, validation = prepared.store, len(prepared.store.validation)
    counts = f"{len(store.train):,} train ({validation:,} of them validation) and {len(store.test):,} test videos"
    how = "was already prepared" if prepared.already else f"prepared in {prepared.seconds:,.1f} s"
    say(f"{store.name} {how}: {counts}, {store.spec.num_classes} classes, at {store.path}")
    if prepared.problems:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in prepared.problems.items())
        left_out = f"{store.num_missing:,} videos left out ({reasons}): {store.path / 'problems.csv'}"
        say(left_out, style="yellow")
    warn_of_shared(store.index)
    return prepared
