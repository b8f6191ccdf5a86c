"""hmdb51: 51 human actions from films and YouTube, the official split 1: 70 training and 30 test clips a class.

Kuehne, Jhuang, Garrote, Poggio, Serre: HMDB: A Large Video Database for Human Motion Recognition, ICCV 2011.
Source: https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/. Layout after unpacking its two archives:
`hmdb51_org/<class>/<clip>.avi` (hmdb51_org.rar holds one .rar per class) and
`testTrainMulti_7030_splits/<class>_test_split1.txt`, with one line "<clip>.avi N" per clip of the class: N = 1 is train, 2 is
test, 0 is neither. This gives 3,570 training and 1,530 test clips of 6,766; hmdb51_sdd.py splits them by another rule. A group
holds a class's clips from one film; a clip's name begins with the film's name. The official split has no group in both parts. A
pinned fifth of the groups is for validation.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from vddbench.data.listing import EXTENSIONS, contents, read_list
from vddbench.data.matching import located, one_each
from vddbench.spec import DatasetSpec, Video

CLIPS = """
brush_hair 107, cartwheel 107, catch 102, chew 109, clap 130, climb 108, climb_stairs 112, dive 127, draw_sword 103,
dribble 145, drink 164, eat 108, fall_floor 136, fencing 116, flic_flac 107, golf 105, handstand 113, hit 127,
hug 118, jump 151, kick 130, kick_ball 128, kiss 102, laugh 128, pick 106, pour 106, pullup 104, punch 126, push 116,
pushup 103, ride_bike 103, ride_horse 116, run 232, shake_hands 162, shoot_ball 131, shoot_bow 112, shoot_gun 103,
sit 142, situp 105, smile 102, smoke 109, somersault 140, stand 154, swing_baseball 143, sword 127,
sword_exercise 127, talk 120, throw 102, turn 240, walk 548, wave 104
"""
NUM_CLIPS = {name: int(count) for name, count in (entry.split() for entry in CLIPS.split(","))}  # in the split's files
SPLITS_FOLDER, VIDEOS_FOLDER = "testTrainMulti_7030_splits", "hmdb51_org"
VIDEOS_FOLDERS = (VIDEOS_FOLDER, "videos")  # the latter beside annotations/, as other labs have them
LIST_FILES = re.compile(rf"({SPLITS_FOLDER}|annotations)/\w+_test_split1\.txt", re.ASCII)
SUFFIX = ".avi"
LINE = re.compile(r"(?P<clip>[^/\\]+)\.avi\s+(?P<use>[012])", re.ASCII)
USES: dict[str, Literal["train", "test"]] = {"1": "train", "2": "test"}
OFFICIAL = {"train": 70, "test": 30}  # clips per class
SOURCE = "https://serre-lab.clps.brown.edu/resource/hmdb-a-large-human-motion-database/"


def listing_of(spec: DatasetSpec, raw: Path | None, unused: Literal["train"] | None) -> Iterator[Video]:
    """The clips that the split's files in `raw` name. Clips in neither part go to the split `unused`; None leaves them out.

    Raises FileNotFoundError without these files, ValueError if they are not the official ones.
    """
    for label, name in enumerate(spec.class_names):
        for clip, use in read_split(raw, name).items():
            if split := USES.get(use, unused):
                yield Video(id=f"{name}/{clip}", path=None, label=label, split=split, group=f"{name}/{film(clip, name)}")


def read_split(raw: Path | None, name: str) -> dict[str, str]:
    """Clip -> "0", "1" or "2", for one class."""
    places = [home(raw) / folder / f"{name}_test_split1.txt" for folder in (SPLITS_FOLDER, "annotations")]
    path = next((place for place in places if place.is_file()), places[0])
    if not path.is_file():
        raise FileNotFoundError(
            f"no {path}; --raw is the folder that holds {SPLITS_FOLDER}/ and {VIDEOS_FOLDER}/: unpack test_train_splits.rar "
            f"there, e.g. unrar x test_train_splits.rar ({SOURCE}); {contents(home(raw))}"
        )
    uses: dict[str, str] = {}
    for number, line in enumerate(read_list(path).splitlines(), start=1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        if not match or match["clip"] in uses:
            fault = "repeats a clip" if match else "is not '<clip>.avi N' with N 0, 1 or 2"
            raise ValueError(f"{path} line {number} {fault}: {line[:200]!r}")
        uses[match["clip"]] = match["use"]
    counts = Counter(uses.values())
    actual = (len(uses), counts["1"], counts["2"])
    if actual != (official := (NUM_CLIPS[name], *OFFICIAL.values())):
        raise ValueError("{}: {} clips, {} train, {} test; the official split has {}, {}, {}".format(path, *actual, *official))
    return uses


def home(raw: Path | None) -> Path:
    """The folder with the videos' folder and the splits' folder."""
    raw = raw or Path()
    return raw.parent if raw.name in VIDEOS_FOLDERS else raw


def film(clip: str, name: str) -> str:
    """April_09_brush_hair_u_nm_np1_ba_goo_0 -> April_09; a clip without the class in its name counts as its own film."""
    return clip.rpartition(f"_{name}_")[0] or clip


def class_folders(spec: DatasetSpec, raw: Path) -> dict[str, Path]:
    """Class -> its folder. Raises FileNotFoundError if none exists or some are still packed."""
    root = next((raw / name for name in VIDEOS_FOLDERS if (raw / name).is_dir()), raw)
    packed = [name for name in spec.class_names if not (root / name).is_dir() and (root / f"{name}.rar").is_file()]
    if packed:
        raise FileNotFoundError(
            f"{len(packed)} classes in {root} are still packed: {', '.join(packed[:10])}; unpack them there: "
            f'cd "{root}" && for f in *.rar; do unrar x -o+ "$f"; done'
        )
    folders = {name: root / name for name in spec.class_names if (root / name).is_dir()}
    if not folders:
        archive = next(iter([*raw.glob("hmdb51_org.rar"), *root.glob("hmdb51_org.rar")]), None)
        how = f"unpack {archive}" if archive else f"unpack hmdb51_org.rar ({SOURCE})"
        raise FileNotFoundError(
            f"{raw} does not hold HMDB51: no folder {VIDEOS_FOLDER}/{spec.class_names[0]} (nor {spec.class_names[0]}) in it; "
            f"{how} into {raw / VIDEOS_FOLDER}/, then each class's .rar in it: unrar x FILE.rar; {contents(raw)}"
        )
    return folders


def clips_in(spec: DatasetSpec, raw: Path) -> dict[str, Path]:
    """Video id -> file, for every clip in the folders of the classes."""
    return one_each(
        (
            (f"{name}/{Path(entry.name).stem}", Path(entry.path))
            for name, folder in class_folders(spec, raw).items()
            for entry in os.scandir(folder)
            if entry.name.lower().endswith(EXTENSIONS) and not entry.name.startswith("._") and entry.is_file()
        ),  # ._*: macOS's metadata
        SUFFIX,
    )


def unlisted_of(spec: DatasetSpec, raw: Path) -> Iterator[str]:
    """Clips in the folders that the split's files don't name."""
    named = {name: read_split(raw, name) for name in spec.class_names}
    for video in clips_in(spec, raw):
        name, clip = video.split("/")
        if clip not in named[name]:
            yield video


def spec_of(num_videos: dict[Literal["train", "test"], int], full: int, rule: str) -> DatasetSpec:
    return DatasetSpec(
        class_names=tuple(sorted(NUM_CLIPS)),
        frames=16,
        size=112,
        stride=4,
        resize=(160, 120),  # SDD's geometry (2312.00362, released code)
        hflip_keeps_label=True,
        num_videos=num_videos,
        validation_groups=(),  # chosen by `prepare` among the groups of the split's files
        student_steps={"1": 500, "5": 500, "10": 1000, "full": full},
        source=f"{SOURCE} (ICCV 2011), {rule}",
        licence="CC BY 4.0, says its page; the clips belong to the films' owners",
    )


SPEC = spec_of({"train": 3570, "test": 1530}, full=7_000, rule="official split 1")  # 500 passes of batch 256


def listing(raw: Path | None) -> Iterator[Video]:
    """The clips that the official split's files name."""
    return listing_of(SPEC, raw, unused=None)


def videos(raw: Path) -> Iterator[Video]:
    """The listed clips with their files in the folders of the classes."""
    return located(listing(raw), clips_in(SPEC, raw))


def unlisted(raw: Path) -> Iterator[str]:
    return unlisted_of(SPEC, raw)
