"""The end of `prepare`: checks the counts, chooses validation, writes index, spec, problems and - last - done.json."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pandas as pd

from vddbench.atomic import canonical_json, replacing
from vddbench.journal import Journal
from vddbench.spec import DatasetSpec, Video
from vddbench.store import COLUMNS


def write_store(
    folder: Path,
    name: str,
    spec: DatasetSpec,
    videos: dict[str, Video],
    journal: Journal,
    problems: dict[str, str],
    inputs: str,
) -> dict[str, Any]:
    """Completes a store whose frames are all written; returns what done.json says. Raises ValueError when the videos
    that could be read are not enough.
    """
    write_problems(folder / "problems.csv", videos, problems)
    kept = [videos[video] for video in sorted(journal.rows)]
    check_kept(folder, name, spec, kept, problems)
    held_out = validation_ids(spec, kept)
    table = index_table(kept, held_out, journal)
    done = {
        "digest": store_digest(spec, table, journal),
        "inputs": inputs,
        "num_videos": len(kept),
        "num_missing": len(problems),
        "problems": dict(Counter(reason.split(":")[0] for reason in problems.values()).most_common(20)),
    }
    journal.sync()
    with replacing(folder / "index.parquet") as file:
        table.to_parquet(file, index=False)
    write(folder / "spec.json", spec.model_dump_json(indent=1).encode())
    write(folder / "done.json", canonical_json(done))
    (folder / "journal").unlink()
    return done


def write(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)


def write_problems(path: Path, videos: dict[str, Video], problems: dict[str, str]) -> None:
    """path,reason of every video that was left out; only the heading when there is none."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["path", "reason"])
    rows.writerows([str(videos[video].path), reason] for video, reason in sorted(problems.items()))
    write(path, text.getvalue().encode())


def check_kept(folder: Path, name: str, spec: DatasetSpec, kept: list[Video], problems: dict[str, str]) -> None:
    """Refuses a pinned dataset with unreadable videos, and any without a test split or a class without training videos."""
    where = f"all are listed in {folder / 'problems.csv'}"
    if spec.num_videos is not None and problems:
        first = "; ".join(f"{video}: {reason}" for video, reason in sorted(problems.items())[:10])
        raise ValueError(
            f"{len(problems)} videos of {name} could not be read ({first}); {where}. "
            "Replace these files and run again: the others are kept"
        )
    trained = {video.label for video in kept if video.split == "train"}
    lacking = [class_name for label, class_name in enumerate(spec.class_names) if label not in trained]
    if lacking:
        raise ValueError(f"no readable training video in {', '.join(lacking[:10])}; unreadable videos: {where}")
    if not any(video.split == "test" for video in kept):
        raise ValueError(f"no readable test video in {name}; unreadable videos: {where}")


def validation_ids(spec: DatasetSpec, videos: list[Video]) -> set[str]:
    """Training videos to tune on: those of the spec's groups, or without groups a fifth of each class, rounded up, in the
    order of their ids' sha256; a class with one training video gives none.
    """
    train = [video for video in videos if video.split == "train"]
    if spec.validation_groups:
        return {video.id for video in train if video.group in spec.validation_groups}
    of_class: defaultdict[int, list[str]] = defaultdict(list)
    for video in train:
        of_class[video.label].append(video.id)
    chosen: set[str] = set()
    for ids in of_class.values():
        if len(ids) > 1:
            ids.sort(key=lambda name: hashlib.sha256(name.encode()).digest())
            chosen.update(ids[: -(-len(ids) // 5)])
    return chosen


def index_table(videos: list[Video], held_out: set[str], journal: Journal) -> pd.DataFrame:
    """One row a stored video, sorted by id; `store.COLUMNS`."""
    records = []
    for video in videos:
        row = journal.rows[video.id]
        where = (row.offset, row.stored.num_frames, row.stored.stride, row.stored.sha256)
        records.append((video.id, video.label, video.split, video.id in held_out, video.group, *where))
    return pd.DataFrame(records, columns=list(COLUMNS))


def store_digest(spec: DatasetSpec, table: pd.DataFrame, journal: Journal) -> str:
    """sha256 of the spec and of every video's place, label and pixels; not of paths, order or source files."""
    columns = ["video", "label", "split", "validation", "group", "num_frames", "stride"]
    rows = table[columns].to_numpy(object).tolist()
    hashed = [[*row, journal.rows[row[0]].stored.frames_sha256] for row in rows]
    return hashlib.sha256(canonical_json([spec.model_dump(mode="json"), hashed])).hexdigest()
