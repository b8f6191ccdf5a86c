"""Reads a user's folder of videos as a dataset: `DIR/{train,test}/<class>/<clip>.{avi,mp4,webm,mkv,mov}`.

An optional `DIR/groups.csv` (columns path,group; paths relative to DIR) says which clips show the same scene or person.
Links out of the folder, unprintable names and oversized tables are refused before anything is decoded.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from vddbench.data.listing import SPLITS, is_folder, validation_groups
from vddbench.lookup import unknown
from vddbench.spec import DatasetSpec, Video

EXTENSIONS = (".avi", ".mp4", ".webm", ".mkv", ".mov")
MAX_GROUPS_BYTES = 64 * 10**6  # of groups.csv: a million paths
MAX_GROUP_CHARS = 200
STUDENT_STEPS = 500  # of the protocol, at ipc 1
MAX_STUDENT_STEPS = 1_000_000


def read_folder(
    folder: Path,
    frames: int = 16,
    size: int = 112,
    stride: int | Literal["even"] = 4,
    classes: list[str] | None = None,
    student_steps: int | None = None,
) -> tuple[DatasetSpec, list[Video]]:
    """Reads the spec and the videos of a folder. Classes are the sorted folder names in `train/`, or those in `classes`.

    student_steps: training steps at ipc 1 and 5 and for the full data; twice as many at ipc 10.
    Raises FileNotFoundError if the folder has another layout, ValueError or LookupError if it can't be used.
    """
    for part in SPLITS:
        if not (folder / part).is_dir():
            raise FileNotFoundError(f"no folder {folder / part}; expected: DIR/{{train,test}}/<class>/<clip>.avi|mp4|...")
    class_names = chosen_classes(folder, classes)
    groups = read_groups(folder)
    videos = [v for label, name in enumerate(class_names) for v in class_videos(folder, name, label, groups)]
    if not any(v.split == "test" for v in videos):
        raise ValueError(f"no videos in {folder / 'test'} ({', '.join(EXTENSIONS)}); a score needs test videos")
    check_group_paths(folder, groups)
    steps = STUDENT_STEPS if student_steps is None else student_steps
    if not 1 <= steps <= MAX_STUDENT_STEPS:
        raise ValueError(f"--student-steps {steps}: allowed are 1 to {MAX_STUDENT_STEPS:,}")
    ten = 2 * steps
    spec = checked_spec(
        class_names=class_names,
        frames=frames,
        size=size,
        stride=stride,
        resize=None,
        hflip_keeps_label=False,  # the classes may be left and right
        num_videos=None,
        validation_groups=validation_groups(videos),
        student_steps={"1": steps, "5": steps, "10": ten, "full": steps},
        source="a user's folder, prepared with --folder",
        licence="not stated; it is the folder's owner's to say",
    )
    return spec, videos


def checked_spec(**fields: Any) -> DatasetSpec:
    """Makes a spec. Raises ValueError in one line if an option is out of range."""
    try:
        return DatasetSpec(**fields)
    except ValidationError as error:
        wrong = [f"--{e['loc'][0]}: {e['msg'].lower()}, found {e['input']}" for e in error.errors()]
        raise ValueError("; ".join(dict.fromkeys(wrong))) from None


def chosen_classes(folder: Path, classes: list[str] | None) -> tuple[str, ...]:
    """The sorted names of the classes; with `classes`, only these."""
    names = {part: {entry.name for entry in visible(folder, folder / part) if is_folder(entry)} for part in SPLITS}
    if classes is not None:
        for name in classes:
            if name not in names["train"]:
                raise LookupError(unknown(f"class in {folder / 'train'}", name, sorted(names["train"])))
        chosen = set(classes)
    else:
        chosen = names["train"]
        extra = sorted(names["test"] - chosen)
        if extra:
            raise ValueError(f"classes in test/ but not in train/: {', '.join(extra[:10])}; every class needs both")
    if len(chosen) < 2:
        raise ValueError(f"{len(chosen)} class in {folder / 'train'}, at least 2 are needed: one folder per class")
    return tuple(sorted(chosen))


def visible(folder: Path, where: Path) -> list[os.DirEntry[str]]:
    """The sorted entries of `where` without hidden ones. Raises ValueError for links out of `folder` and unprintable names."""
    entries = sorted((e for e in os.scandir(where) if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in entries:
        if not entry.name.isprintable():
            raise ValueError(f"the name {entry.name!r} in {where} has unprintable characters; rename it")
        if entry.is_symlink() and leaves(entry, folder):
            raise ValueError(f"{entry.path} is a link that leaves {folder}; copy the file into the folder")
    return entries


def leaves(link: os.DirEntry[str], folder: Path) -> bool:
    try:
        return not Path(link.path).resolve().is_relative_to(folder.resolve())
    except RuntimeError:  # Python before 3.13 raises this for circular links, which lead nowhere
        return False


def class_videos(folder: Path, name: str, label: int, groups: dict[str, str]) -> Iterator[Video]:
    """The videos of one class, sorted by name; decoding reports those that are missing or not files.

    Raises ValueError if the training folder has no video.
    """
    for part in SPLITS:
        where = folder / part / name
        if part == "test" and not where.is_dir():
            continue
        files = [e for e in visible(folder, where) if not is_folder(e)]
        clips = [e for e in files if Path(e.name).suffix.lower() in EXTENSIONS]
        if part == "train" and not clips:
            others = ", ".join(sorted({Path(e.name).suffix or e.name for e in files})[:5])
            raise ValueError(
                f"no videos in {where}: looked for {', '.join(EXTENSIONS)}" + (f", found {others}" if files else "")
            )
        for entry in clips:
            path = f"{part}/{name}/{entry.name}"
            yield Video(id=path, path=Path(entry.path), label=label, split=part, group=groups.get(path, ""))


def read_groups(folder: Path) -> dict[str, str]:
    """Path -> group, from `groups.csv`; {} if that does not exist. Raises ValueError naming the wrong line."""
    file = folder / "groups.csv"
    if not file.is_file():
        return {}
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{file} is a link that leaves {folder}; copy the file into the folder")
    if (size := file.stat().st_size) > MAX_GROUPS_BYTES:
        raise ValueError(f"{file} has {size:,} bytes; allowed: {MAX_GROUPS_BYTES:,}")
    groups: dict[str, str] = {}
    try:
        with file.open(newline="", encoding="utf-8-sig") as text:
            rows = csv.reader(text)
            if next(rows, None) != ["path", "group"]:
                raise ValueError("its first line is not: path,group")
            for row in rows:
                if len(row) != 2:
                    raise ValueError(f"line {rows.line_num} has {len(row)} columns, not 2")
                path, group = row
                if path in groups:
                    raise ValueError(f"line {rows.line_num} repeats {path[:200]!r}")
                if len(group) > MAX_GROUP_CHARS or not group.isprintable():
                    raise ValueError(f"line {rows.line_num}: a group is up to {MAX_GROUP_CHARS} printable characters")
                groups[path] = group
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{file}: {error}") from None
    return groups


def check_group_paths(folder: Path, groups: dict[str, str]) -> None:
    """Raises ValueError unless every path of groups.csv names a video below `folder`, maybe of a class that was not chosen."""
    wrong = []
    for path in groups:
        parts = path.split("/")
        inside = len(parts) == 3 and parts[0] in SPLITS and ".." not in parts and "\0" not in path
        if not (inside and Path(path).suffix.lower() in EXTENSIONS and (folder / path).is_file()):
            wrong.append(path[:200])
    if wrong:
        listed = ", ".join(map(repr, wrong[:10]))
        raise ValueError(f"{folder / 'groups.csv'} names {len(wrong)} paths that are not videos of this folder: {listed}")
