"""The layouts that distributors ship, filled with small generated videos under real names."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.builders.videos import write_video

# parts of names of real clips; all of these characters occur in HMDB51, spaces not in UCF101 or Kinetics
ODD = (
    "Brushing_Her_Hair__[_NEW_AUDIO_]_UPDATED!!!!",
    "Goal_1_&_2",
    "_Art_of_the_Drink__Flaming_Zombie",
    "#122_Cleaning_Up_The_Beach_In_Chiba__Japan",
    "Girl (in red) & a dog!",
    "Haarek_mmen",
    "50%_of_it's_all, Ägypten",
)
SSV2 = "something-something-v2-"
Fill = Callable[[Path], object]  # writes a video to this path


def clip_name(name: str, number: int) -> str:
    """The name of a clip of class `name` as HMDB51 writes it; four clips come from one film."""
    film = ODD[number // 4] if number // 4 < len(ODD) else f"Film_{number // 4}"
    return f"{film}_{name}_u_cm_np1_fr_goo_{number % 4}"


def write_splits(raw: Path, clips: Mapping[str, int], train: int = 70, test: int = 30) -> Path:
    """Writes `testTrainMulti_7030_splits/` for classes with these numbers of clips: first train, then test, the rest unused."""
    folder = raw / "testTrainMulti_7030_splits"
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in clips.items():
        uses = [1] * train + [2] * test + [0] * (count - train - test)
        lines = [f"{clip_name(name, i)}.avi {use} \n" for i, use in enumerate(uses)]
        (folder / f"{name}_test_split1.txt").write_text("".join(lines))
    return raw


def write_hmdb(raw: Path, clips: Mapping[str, int], fill: Fill, train: int = 70, test: int = 30) -> Path:
    write_splits(raw, clips, train, test)
    for name, count in clips.items():
        folder = raw / "hmdb51_org" / name
        folder.mkdir(parents=True)
        for i in range(count):
            fill(folder / f"{clip_name(name, i)}.avi")
    return raw


def link_to(clip: Path) -> Fill:
    """Links every video to one file, for tests that decode nothing."""
    return lambda path: path.hardlink_to(clip)


def numbered(num_frames: int = 20) -> Fill:
    """Writes videos that start at frames 0, 10, 20, ... in the order of the calls."""
    count = iter(range(10**6))
    return lambda path: write_video(path, num_frames, first=10 * next(count) % 35)


def write_kinetics_lists(folder: Path, train: list[tuple[str, str, int]], test: list[tuple[str, str, int]]) -> None:
    """Writes `train.csv` and `validate.csv` with rows (label, youtube_id, time_start)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, split, rows in (("train.csv", "train", train), ("validate.csv", "validate", test)):
        with (folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["label", "youtube_id", "time_start", "time_end", "split"])
            writer.writerows([label, video, start, start + 10, split] for label, video, start in rows)


def write_ssv2_lists(folder: Path, train: list[tuple[int, str]], test: list[tuple[int, str]], prefix: str = SSV2) -> None:
    """Writes the train and validation lists with rows (id, template with brackets)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("validation", test)):
        entries = [
            {"id": str(video), "label": "made up", "template": template, "placeholders": ["made", "up"]}
            for video, template in rows
        ]
        (folder / f"{prefix}{name}.json").write_text(json.dumps(entries))


def file_name(video: str, start: int) -> str:
    return f"{video}_{start:06d}_{start + 10:06d}.mp4"
