"""Completes a store: checks the counts, chooses the validation videos, writes index, spec, problems and finally done.json.

It also says what train and test of a finished store share.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from vddbench.data.fingerprint import FramesFile, Sketch, thumbnail
from vddbench.data.journal import Journal
from vddbench.data.listing import check_splits
from vddbench.data.store_files import COLUMNS, check_layout, rows_digest, store_digest, write_index
from vddbench.spec import DatasetSpec, Fingerprint, Video
from vddbench.system.files import canonical_json, replacing, write_whole
from vddbench.system.progress import bar, say

UNLISTED = "not in the lists"  # reason for videos that are part of the pinned number but in no list; their names are unknown


def write_store(
    folder: Path,
    name: str,
    spec: DatasetSpec,
    videos: dict[str, Video],
    journal: Journal,
    problems: dict[str, str],
    inputs: str,
) -> dict[str, Any]:
    """Completes a store whose frames are all written; returns the content of done.json.

    Raises ValueError if too few videos could be read, or if they are not in the right order in `frames.bin`.
    """
    write_problems(folder / "problems.csv", videos, problems)
    kept = [videos[video] for video in sorted(journal.rows)]
    check_kept(folder, name, spec, kept, problems)
    reasons = Counter(reason.split(":")[0] for _, reason in sorted(problems.items()))
    if spec.num_missing is not None:
        spec = spec.model_copy(update={"num_missing": count_missing(spec, kept)})
        reasons[UNLISTED] = sum((spec.num_missing or {}).values()) - len(problems)
    held_out = validation_ids(spec, kept)
    table = index_table(kept, held_out, journal)
    try:
        check_layout(table)
    except ValueError as error:  # running again would resume the same frames
        raise ValueError(f"{name} was not finished: {error}; delete {folder} and run again") from None
    journal.sync()
    resumed = set(islice(journal.rows, journal.num_unsketched))
    add_stored(journal.sketch, folder, spec, table[table["video"].isin(resumed)])
    done = {
        "digest": store_digest(spec, table),
        "fingerprint": journal.sketch.fingerprint(rows_digest(spec, table)),
        "inputs": inputs,
        "num_videos": len(kept),
        "num_missing": reasons.total(),
        "num_shared": len(shared_videos(table)),
        "num_repeated": sum(row.stored.num_source < spec.frames for row in journal.rows.values()),
        "problems": dict((+reasons).most_common(20)),
    }
    with replacing(folder / "index.parquet") as file:
        write_index(table, file)
    write_whole(folder / "spec.json", spec.model_dump_json(indent=1).encode())
    write_whole(folder / "done.json", canonical_json(done))
    (folder / "journal").unlink()
    return done


def count_missing(spec: DatasetSpec, kept: list[Video]) -> dict[str, int]:
    """Split -> how many of the pinned videos were not kept: not listed, absent or unreadable."""
    counts = Counter(video.split for video in kept)
    return {split: count - counts[split] for split, count in (spec.num_videos or {}).items()}


def write_problems(path: Path, videos: dict[str, Video], problems: dict[str, str]) -> None:
    """Writes path,reason of every video that was left out."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "reason"])
    rows.writerows([str(videos[video].path or video), reason] for video, reason in sorted(problems.items()))
    write_whole(path, text.getvalue().encode(errors="backslashreplace"))  # the names of folders need not be UTF-8


def check_kept(folder: Path, name: str, spec: DatasetSpec, kept: list[Video], problems: dict[str, str]) -> None:
    """Raises ValueError if a complete dataset lacks videos, or any dataset lacks test videos or a class's training videos."""
    where = f"all are listed in {folder / 'problems.csv'}"
    if spec.num_videos is not None and spec.num_missing is None and problems:
        first = "; ".join(f"{video}: {reason}" for video, reason in sorted(problems.items())[:10])
        raise ValueError(
            f"{len(problems)} videos of {name} could not be read ({first}); {where}. "
            "Replace these files and run again: the others are kept"
        )
    check_splits(name, spec, kept, "readable", f"{reasons_in(problems)}; {where}")


def reasons_in(problems: dict[str, str]) -> str:
    """The most frequent reasons, with an example of each: "unreadable: 420, e.g. train/x (no frames)"."""
    counts = Counter(reason.split(":")[0] for reason in problems.values())
    examples = {reason.split(":")[0]: (video, reason) for video, reason in sorted(problems.items(), reverse=True)}
    return "; ".join(
        f"unreadable: {count:,}, e.g. {examples[kind][0]} ({examples[kind][1]})" for kind, count in counts.most_common(3)
    )


def validation_ids(spec: DatasetSpec, videos: list[Video]) -> set[str]:
    """The ids of the validation videos: those of the spec's groups, or without groups a fifth of each class, rounded up.

    The fifth is taken in the order of the sha256 of the ids; a class with one training video gives none.
    """
    train = [video for video in videos if video.split == "train"]
    if spec.validation_groups:
        return {video.id for video in train if video.group in spec.validation_groups}
    ids_of_class: defaultdict[int, list[str]] = defaultdict(list)
    for video in train:
        ids_of_class[video.label].append(video.id)
    chosen: set[str] = set()
    for ids in ids_of_class.values():
        if len(ids) > 1:
            ids.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
            chosen.update(ids[: -(-len(ids) // 5)])
    return chosen


def index_table(videos: list[Video], held_out: set[str], journal: Journal) -> pd.DataFrame:
    """One row for each stored video, in the given order; the columns are `store_files.COLUMNS`."""
    records = []
    for video in videos:
        row = journal.rows[video.id]
        where = (row.offset, row.stored.num_frames, row.stored.stride, row.stored.sha256, row.stored.frames_sha256)
        records.append((video.id, video.label, video.split, video.id in held_out, video.group, *where))
    return pd.DataFrame(records, columns=list(COLUMNS))


def shared_videos(index: pd.DataFrame) -> list[tuple[str, str]]:
    """(test video, training video) for every test video whose frames equal those of a training video (the first such one)."""
    train, test = index[index["split"] == "train"], index[index["split"] == "test"]
    seen: dict[str, str] = {}
    for video, frames in zip(train["video"], train["frames_sha256"], strict=True):
        seen.setdefault(frames, video)
    pairs = zip(test["video"], test["frames_sha256"], strict=True)
    return [(video, seen[frames]) for video, frames in pairs if frames in seen]


def warn_of_shared(index: pd.DataFrame) -> None:
    """Prints which videos and which groups (e.g. speakers) are in both train and test."""
    if pairs := shared_videos(index):
        first = ", ".join(f"{test} = {train}" for test, train in pairs[:3]) + (", ..." if len(pairs) > 3 else "")
        say(f"warning: {len(pairs):,} test videos have the frames of a training video: {first}", style="yellow")
    train, test = (set(index["group"][index["split"] == split]) for split in ("train", "test"))
    if groups := sorted((train & test) - {""}):
        first = ", ".join(groups[:5]) + (", ..." if len(groups) > 5 else "")
        say(f"warning: {len(groups):,} groups are in train and in test: {first}", style="yellow")


def warn_of_short(spec: DatasetSpec, index: pd.DataFrame, num_repeated: int) -> None:
    """Prints how many videos are too short for the spec's stride, and for how many frames repeat. num_repeated: the latter."""
    if spec.stride != "even" and len(changed := index["stride"][index["stride"] < spec.stride]):
        counts = ", ".join(
            f"stride {stride} for {count:,} videos" for stride, count in sorted(Counter(changed).items(), reverse=True)
        )
        say(
            f"warning: {len(changed):,} of {len(index):,} videos are shorter than {spec.frames * spec.stride} frames "
            f"({spec.frames} frames at stride {spec.stride}) and are stored with a smaller stride: {counts}",
            style="yellow",
        )
    if num_repeated:
        say(
            f"warning: {num_repeated:,} of {len(index):,} videos have fewer than {spec.frames} frames: their frames are "
            "repeated from the start",
            style="yellow",
        )


def fingerprint_of(folder: Path, spec: DatasetSpec, index: pd.DataFrame) -> Fingerprint:
    """Computes a store's fingerprint by reading all of `frames.bin`."""
    sketch = Sketch()
    add_stored(sketch, folder, spec, index)
    return sketch.fingerprint(rows_digest(spec, index))


def add_stored(sketch: Sketch, folder: Path, spec: DatasetSpec, index: pd.DataFrame) -> None:
    """Reads the frames of the videos in `index` and adds the videos to the sketch."""
    columns = zip(*(index[name] for name in ("video", "offset", "num_frames")), strict=True)
    with (folder / "frames.bin").open("rb") as file, bar("fingerprint", len(index)) as progress:
        for video, offset, num_frames in columns:
            sketch.add(video, thumbnail(FramesFile(file, (num_frames, spec.size, spec.size, 3), offset)))
            progress.advance()
