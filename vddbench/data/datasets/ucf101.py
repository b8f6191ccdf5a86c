"""ucf101: 13,320 clips of 101 human actions from YouTube, split 1.

Soomro, Zamir, Shah: UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild, 2012 (arXiv 1212.0402).
Source: https://www.crcv.ucf.edu/data/UCF101.php. Layout, as its archive unpacks: `UCF-101/<Class>/v_<Class>_gNN_cNN.avi`;
other labs have `videos/` and `annotations/`, or all clips in one folder.
A group (gNN) is one person or scene; split 1 tests on groups 1-7 and trains on 8-25. `ucf101_clips.csv` has the number of
clips of each class in each of its 25 groups, from which the 13,320 names and their split follow. The official lists
(`ucfTrainTestlist/{train,test}list01.txt`) are not needed; if they exist, they must agree.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Literal

from vddbench.data.listing import EXTENSIONS, contents, files_below, read_list
from vddbench.data.matching import located, one_each
from vddbench.spec import DatasetSpec, Video

CLIP = r"v_(?P<cls>[A-Za-z]+)_(?P<group>g\d\d)_(?P<clip>c\d\d)"
NAME = re.compile(CLIP, re.ASCII)
LINE = re.compile(rf"[A-Za-z]+/{CLIP}\.avi(\s+\d+)?", re.ASCII)  # a train list has the class's number, too
VIDEOS_FOLDER, LISTS_FOLDER = "UCF-101", "ucfTrainTestlist"
LIST_FILES = re.compile(rf"({LISTS_FOLDER}|annotations)/(train|test)list01\.txt")
SUFFIX = ".avi"
LISTS_SOURCE = "UCF101TrainTestSplits-RecognitionTask.zip (https://www.crcv.ucf.edu/data/UCF101.php)"
TEST_GROUPS = tuple(f"g{i:02d}" for i in range(1, 8))  # split 1
VALIDATION_GROUPS = ("g22", "g23", "g24", "g25")  # of train


@cache
def num_clips() -> dict[str, tuple[int, ...]]:
    """Class -> number of clips in each of its groups g01..g25; the clips are named c01, c02, ..."""
    with Path(__file__).with_name("ucf101_clips.csv").open(newline="") as file:
        return {row[0]: tuple(map(int, row[1:])) for row in csv.reader(file)}


def listing_of(class_names: tuple[str, ...], raw: Path | None) -> Iterator[Video]:
    """The clips of a complete copy, without paths. Raises ValueError if official lists in `raw` differ."""
    lists = read_lists(raw) if raw else {}
    differing: list[str] = []
    for label, name in enumerate(class_names):
        for group, clips in enumerate(num_clips()[name], start=1):
            split: Literal["train", "test"] = "test" if f"g{group:02d}" in TEST_GROUPS else "train"
            for clip in range(1, clips + 1):
                video = f"v_{name}_g{group:02d}_c{clip:02d}"
                if lists and lists.get(video.lower()) != split:
                    differing.append(video)
                scene = f"{name}_g{group:02d}"  # g01 of two classes are different groups
                yield Video(id=video, path=None, label=label, split=split, group=scene)
    if differing:
        raise ValueError(
            f"the lists in {raw} are not those of split 1: {len(differing):,} clips are missing or in the wrong part, "
            f"e.g. {', '.join(differing[:5])}; take trainlist01.txt and testlist01.txt from {LISTS_SOURCE}"
        )


def read_lists(raw: Path) -> dict[str, str]:
    """Video id in small letters -> "train" or "test", from `ucfTrainTestlist/{train,test}list01.txt`; {} without that folder.

    Raises FileNotFoundError if one of the two lists is missing, ValueError if a line names no clip.
    """
    places = (raw, raw.parent if raw.name == VIDEOS_FOLDER else raw)
    folders = [where / LISTS_FOLDER for where in places if (where / LISTS_FOLDER).is_dir()]
    folders += [where / "annotations" for where in places if (where / "annotations" / "trainlist01.txt").is_file()]
    folder = next(iter(folders), None)
    if folder is None:
        return {}
    splits: dict[str, str] = {}
    for split in ("train", "test"):
        path = folder / f"{split}list01.txt"
        if not path.is_file():
            raise FileNotFoundError(
                f"no {path}; unpack it from {LISTS_SOURCE}, or remove {folder}: split 1 is known without it"
            )
        for number, line in enumerate(read_list(path).splitlines(), start=1):
            if line.strip():
                match = LINE.fullmatch(line.strip())
                if not match:
                    raise ValueError(f"{path} line {number} is not <Class>/v_<Class>_gNN_cNN.avi: {line[:200]!r}")
                splits[f"v_{match['cls']}_{match['group']}_{match['clip']}".lower()] = split  # HandStandPushups in some copies
    return splits


def clips_in(class_names: tuple[str, ...], raw: Path) -> dict[str, Path]:
    """Video id -> file, for every clip in the folders of these classes. Raises FileNotFoundError if there are none."""
    root = next((raw / name for name in (VIDEOS_FOLDER, "videos") if (raw / name).is_dir()), raw)
    wanted = {name.lower(): name for name in class_names}
    folders = {path: wanted[path.name.lower()] for path in sorted(root.iterdir()) if path.name.lower() in wanted}
    in_folders = (path for folder in folders for path in sorted(folder.iterdir()))
    files = in_folders if folders else map(Path, files_below(root, EXTENSIONS))
    clips = one_each(clips_among(files, wanted, folders), SUFFIX)
    if not folders and not clips:
        raise FileNotFoundError(
            f"{raw} does not hold UCF101: no folder {VIDEOS_FOLDER}/{class_names[0]} (nor {class_names[0]}) in it, and no file "
            f"v_{class_names[0]}_g01_c01{SUFFIX} below it; unpack UCF101.rar there (https://www.crcv.ucf.edu/data/UCF101.php); "
            f"{contents(raw)}"
        )
    return clips


def clips_among(files: Iterable[Path], wanted: Mapping[str, str], folders: Mapping[Path, str]) -> Iterator[tuple[str, Path]]:
    """(video id, file) of the files that are clips of a class, in a folder of classes only those of its class.

    wanted: class by its name in small letters, because some copies write HandStandPushups. folders: class by its folder.
    """
    for path in files:
        match = NAME.fullmatch(path.stem) if path.suffix.lower() in EXTENSIONS else None
        name = wanted.get(match["cls"].lower()) if match else None
        if match and name and folders.get(path.parent, name) == name and path.is_file():
            yield f"v_{name}_{match['group']}_{match['clip']}", path


def unlisted_of(class_names: tuple[str, ...], raw: Path) -> Iterator[str]:
    """Clips in the folders that are not part of split 1."""
    listed = {video.id for video in listing_of(class_names, None)}
    return (video for video in clips_in(class_names, raw) if video not in listed)


def spec_of(class_names: tuple[str, ...], num_videos: dict[Literal["train", "test"], int], full: int) -> DatasetSpec:
    return DatasetSpec(
        class_names=class_names,
        frames=16,
        size=112,
        stride=4,
        resize=(160, 120),  # SDD's geometry (2312.00362, released code)
        hflip_keeps_label=True,
        num_videos=num_videos,
        validation_groups=tuple(f"{name}_{group}" for name in class_names for group in VALIDATION_GROUPS),
        student_steps={"1": 500, "5": 500, "10": 1000, "full": full},
        source="https://www.crcv.ucf.edu/data/UCF101.php (arXiv 1212.0402), split 1",
        licence="research set without a licence text; the videos belong to their YouTube uploaders",
    )


SPEC = spec_of(tuple(sorted(num_clips())), {"train": 9537, "test": 3783}, full=19_000)  # 500 passes of batch 256


def listing(raw: Path | None) -> Iterator[Video]:
    """The 13,320 clips of split 1."""
    return listing_of(SPEC.class_names, raw)


def videos(raw: Path) -> Iterator[Video]:
    """The clips of split 1 with their files in `raw`, which has (or is) the folder UCF-101."""
    return located(listing(raw), clips_in(SPEC.class_names, raw))


def unlisted(raw: Path) -> Iterator[str]:
    return unlisted_of(SPEC.class_names, raw)
