"""ucf101: 13,320 clips of 101 human actions from YouTube, split 1.

Soomro, Zamir, Shah: UCF101: A Dataset of 101 Human Actions Classes From Videos in The Wild, 2012 (arXiv 1212.0402).
Source: https://www.crcv.ucf.edu/data/UCF101.php. Layout, as its archive unpacks: `UCF-101/<Class>/v_<Class>_gNN_cNN.avi`.
A group (gNN) is one person or scene; split 1 tests on groups 1-7 and trains on 8-25. `ucf101_clips.csv` holds how
many clips each class has in each of its 25 groups, which is all it takes to write down the 13,320 names.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Literal

from vddbench.spec import DatasetSpec, Video

NAME = re.compile(r"v_(?P<cls>[A-Za-z]+)_(?P<group>g\d\d)_(?P<clip>c\d\d)", re.ASCII)
TEST_GROUPS = tuple(f"g{i:02d}" for i in range(1, 8))  # split 1
VALIDATION_GROUPS = ("g22", "g23", "g24", "g25")  # of train (protocol v1)


@cache
def num_clips() -> dict[str, tuple[int, ...]]:
    """Class -> how many clips each of its groups g01..g25 has; they are named c01, c02, ..."""
    with Path(__file__).with_name("ucf101_clips.csv").open(newline="") as file:
        return {row[0]: tuple(map(int, row[1:])) for row in csv.reader(file)}


def expected_of(class_names: tuple[str, ...]) -> list[str]:
    """The ids a complete copy has."""
    return [
        f"v_{name}_g{group:02d}_c{clip:02d}"
        for name in class_names
        for group, clips in enumerate(num_clips()[name], start=1)
        for clip in range(1, clips + 1)
    ]


def videos_of(class_names: tuple[str, ...], raw: Path) -> Iterator[Video]:
    """The clips found in the folders of these classes. Raises FileNotFoundError when `raw` isn't a copy of UCF101."""
    root = raw / "UCF-101" if (raw / "UCF-101").is_dir() else raw
    if not any((root / name).is_dir() for name in class_names):
        raise FileNotFoundError(
            f"{raw} does not hold UCF101: no folder UCF-101/{class_names[0]} (nor {class_names[0]}) in it; "
            "unpack UCF101.rar there (https://www.crcv.ucf.edu/data/UCF101.php)"
        )
    spelling = {name.lower(): name for name in class_names}  # some copies write v_HandStandPushups_ in HandstandPushups/
    for label, folder in enumerate(class_names):
        for path in sorted((root / folder).glob("*.avi")):
            match = NAME.fullmatch(path.stem)
            if match and spelling.get(match["cls"].lower()) == folder and path.is_file():
                group = match["group"]
                yield Video(
                    id=f"v_{folder}_{group}_{match['clip']}",
                    path=path,
                    label=label,
                    split="test" if group in TEST_GROUPS else "train",
                    group=f"{folder}_{group}",  # g01 of two classes are two scenes
                )


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


def expected() -> list[str]:
    return expected_of(SPEC.class_names)


def videos(raw: Path) -> Iterator[Video]:
    """The clips under `raw`, which holds (or is) the folder UCF-101."""
    return videos_of(SPEC.class_names, raw)
