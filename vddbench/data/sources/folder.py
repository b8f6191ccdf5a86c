"""Reads a user's folder of videos as a dataset: `DIR/{train,val,test}/<class>/<clip>.{avi,mp4,webm,mkv,mov}`.

val/ is optional and has the validation videos; in a folder without test/, it has the test videos.

An optional `DIR/groups.csv` (columns path,group; paths relative to DIR) says which clips show the same scene or person.
Links are followed. Unprintable names are refused before anything is decoded.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import ValidationError

from vddbench.data.listing import EXTENSIONS, contents, is_folder, validation_groups
from vddbench.data.sources.groups import check_group_paths, read_groups, report_groups
from vddbench.lookup import unknown
from vddbench.spec import DatasetSpec, Video
from vddbench.system.progress import say

VALIDATION = ("val", "validation", "valid")  # names of the folder with validation videos
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
    parts = parts_of(folder)
    class_names = chosen_classes(folder, parts, classes)
    groups = read_groups(folder)
    videos = [v for label, name in enumerate(class_names) for v in class_videos(folder, parts, name, label, groups)]
    if not any(v.split == "test" for v in videos):
        raise ValueError(f"no videos in {folder / parts.test} ({', '.join(EXTENSIONS)}); a score needs test videos")
    check_group_paths(folder, parts.folders(), groups)
    report_groups(groups, videos)
    held_out = report_validation(folder, parts, videos)
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
        validation_groups=held_out or validation_groups(videos),
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


class Parts(NamedTuple):
    """The names of the folders with the videos of each use. validation: "" if there is none."""

    train: str
    validation: str
    test: str

    def folders(self) -> dict[str, Literal["train", "test"]]:
        """Folder -> split. Validation videos are training videos that `--holdout` leaves out."""
        validation: dict[str, Literal["train", "test"]] = {self.validation: "train"} if self.validation else {}
        return {self.train: "train", **validation, self.test: "test"}


def parts_of(folder: Path) -> Parts:
    """Finds train/, test/ and val/. Without test/, the videos in val/ are the test videos, which is reported.

    Raises FileNotFoundError if the folder has another layout, ValueError if it has two folders for validation.
    """
    expected = "expected: DIR/train/<class>/<clip>.avi|mp4|..., DIR/test/ alike, and maybe DIR/val/"
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}; {expected}")
    names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith(".") and is_folder(entry))
    validation = [name for name in VALIDATION if name in names]
    if "train" not in names or not ("test" in names or validation):
        missing = "train" if "train" not in names else "test"
        raise FileNotFoundError(f"no folder {folder / missing}; {expected}; {contents(folder)}")
    if len(validation) > 1:
        raise ValueError(f"{folder} has {' and '.join(validation)}: keep one of these folders")
    if ignored := sorted(set(names) - {"train", "test", *validation}):
        say(f"warning: not read, as only train, test and val are: {', '.join(ignored[:10])} in {folder}", style="yellow")
    if "test" in names:
        return Parts("train", validation[0] if validation else "", "test")
    say(
        f"no folder test in {folder}: the videos in {validation[0]}/ are the test videos, which give the scores", style="yellow"
    )
    return Parts("train", "", validation[0])


def report_validation(folder: Path, parts: Parts, videos: list[Video]) -> tuple[str, ...]:
    """Prints what the videos in val/ are used for; returns their groups, which the spec names."""
    if not parts.validation:
        return ()
    prefix = f"{parts.validation}/"
    held_out = [video for video in videos if video.id.startswith(prefix)]
    if not held_out:
        return ()
    say(
        f"{folder / parts.validation}: its {len(held_out):,} videos are the validation videos, which are part of the training "
        "split, as in every dataset here"
    )
    groups = {video.group for video in held_out}
    if shared := [video.id for video in videos if video.group in groups and video.id.startswith(f"{parts.train}/")]:
        say(
            f"warning: {len(shared):,} videos in {parts.train}/ are of a group in {prefix} and become validation videos, too: "
            f"{', '.join(shared[:5])}",
            style="yellow",
        )
    return tuple(sorted(groups))


def chosen_classes(folder: Path, parts: Parts, classes: list[str] | None) -> tuple[str, ...]:
    """The sorted names of the classes; with `classes`, only these."""
    names = {part: {entry.name for entry in visible(folder / part) if is_folder(entry)} for part in parts.folders()}
    if classes is not None:
        for name in classes:
            if name not in names[parts.train]:
                raise LookupError(unknown(f"class in {folder / parts.train}", name, sorted(names[parts.train])))
        chosen = set(classes)
    else:
        chosen = names[parts.train]
        for part, of_part in names.items():
            if extra := sorted(of_part - chosen):
                raise ValueError(f"classes in {part}/ but not in train/: {', '.join(extra[:10])}; every class needs both")
    if len(chosen) < 2:
        raise ValueError(f"{len(chosen)} class in {folder / parts.train}, at least 2 are needed: one folder per class")
    return tuple(sorted(chosen))


def visible(where: Path) -> list[os.DirEntry[str]]:
    """The sorted entries of `where` without hidden ones. Raises ValueError for unprintable names."""
    entries = sorted((e for e in os.scandir(where) if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in entries:
        if not entry.name.isprintable():
            raise ValueError(f"the name {entry.name!r} in {where} has unprintable characters; rename it")
    return entries


def class_videos(folder: Path, parts: Parts, name: str, label: int, groups: dict[str, str]) -> Iterator[Video]:
    """The videos of one class, sorted by name; decoding reports those that are missing or not files.

    Raises ValueError if the training folder has no video.
    """
    for part, split in parts.folders().items():
        where = folder / part / name
        if part != parts.train and not where.is_dir():
            continue
        files = [e for e in visible(where) if not is_folder(e)]
        clips = [e for e in files if Path(e.name).suffix.lower() in EXTENSIONS]
        if part == parts.train and not clips:
            raise ValueError(f"no videos in {where}: looked for {', '.join(EXTENSIONS)}; {contents(where)}")
        for entry in clips:
            path = f"{part}/{name}/{entry.name}"
            group = groups.get(path, "") or (f"{part}/" if part == parts.validation else "")
            yield Video(id=path, path=Path(entry.path), label=label, split=split, group=group)
