"""ssv2: Something-Something V2, 174 actions of hands with objects; its train list, and its validation list as the test set.

Goyal et al.: The "something something" video database for learning and evaluating visual common sense, ICCV 2017
(arXiv 1706.04261). Source: https://www.qualcomm.com/developer/software/something-something-v-2-dataset. Layout:
`20bn-something-something-v2/<id>.webm` (VP9; copies of other labs have .mp4) and the official
`something-something-v2-{train,validation}.json`, or `{train,validation}.json` in a folder labels/: a list of {"id",
"template", ...}, whose template is the class with placeholders in brackets ("Pushing [something] from left to right"). They
name 168,913 training and 24,777 test videos; the videos of the unlabelled test list are ignored.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from vddbench.data.listing import EXTENSIONS, contents, files_below, read_list
from vddbench.data.matching import located, one_each
from vddbench.spec import DatasetSpec, Video

VIDEOS_FOLDER = "20bn-something-something-v2"
PREFIX = "something-something-v2-"
LIST_FOLDERS = (".", "labels", "annotations", VIDEOS_FOLDER)
LISTS: dict[Literal["train", "test"], str] = {"train": "train", "test": "validation"}
LIST_FILES = re.compile(rf"((labels|annotations|{VIDEOS_FOLDER})/)?({PREFIX})?(train|validation|labels)\.json")
SUFFIX = ".webm"
CLASS_NAMES = tuple(Path(__file__).with_name("ssv2_classes.txt").read_text(encoding="utf-8").splitlines())

SPEC = DatasetSpec(
    class_names=CLASS_NAMES,  # without brackets, as in labels.json
    frames=8,
    size=64,
    stride="even",
    resize=None,
    hflip_keeps_label=False,  # "Pushing something from left to right" and from right to left are classes
    num_videos={"train": 168_913, "test": 24_777},
    validation_groups=(),
    student_steps={"1": 500, "5": 500, "10": 1000, "full": 30_000},  # full: our choice, 45 passes of batch 256
    source="https://www.qualcomm.com/developer/software/something-something-v-2-dataset (arXiv 1706.04261)",
    licence="for research, on the distributor's terms; not to be passed on",
)


def listing(raw: Path | None) -> Iterator[Video]:
    """The videos that the two lists name; ids are the videos' numbers.

    Raises FileNotFoundError without the lists, ValueError naming an entry that is not part of a list.
    """
    folder = raw or Path()
    check_labels(folder)
    labels = {name: label for label, name in enumerate(SPEC.class_names)}
    for split, name in LISTS.items():
        path = list_of(folder, name)
        if path is None:
            raise FileNotFoundError(
                f"no {PREFIX}{name}.json in {folder} (nor {name}.json in its folder labels/): the official list names "
                f"the videos ({SPEC.source}); {contents(folder)}"
            )
        entries = parsed(path)
        if not isinstance(entries, list):
            raise ValueError(f"{path} is not a list of videos")
        for number, entry in enumerate(entries):
            video, template = (str(entry.get(key, "")) for key in ("id", "template")) if isinstance(entry, dict) else ("", "")
            if not (video.isascii() and video.isdecimal()):
                raise ValueError(f"{path} entry {number} has no id: {str(entry)[:200]!r}")
            if (label := labels.get(class_of(template))) is None:
                raise ValueError(f"{path} entry {number}: {template[:200]!r} is not a class of Something-Something V2")
            yield Video(id=video, path=None, label=label, split=split)


def class_of(template: str) -> str:
    """The class of a template: "Pushing [something] from left to right" without the brackets."""
    return template.replace("[", "").replace("]", "")


def list_of(raw: Path, name: str) -> Path | None:
    places = (raw / folder / f"{prefix}{name}.json" for folder in LIST_FOLDERS for prefix in (PREFIX, ""))
    return next((path for path in places if path.is_file()), None)


def parsed(path: Path) -> Any:
    try:
        return json.loads(read_list(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not complete JSON: {error}") from None


def check_labels(raw: Path) -> None:
    """Raises ValueError if `labels.json` exists and does not name the 174 classes."""
    path = list_of(raw, "labels")
    if path is None:
        return
    names = parsed(path)
    classes = {class_of(str(name)) for name in names} if isinstance(names, dict) else set()
    if differing := sorted(classes ^ set(SPEC.class_names)):
        raise ValueError(
            f"{path} is not the one of Something-Something V2: it differs in {len(differing)} classes, {differing[:3]}"
        )


def videos(raw: Path) -> Iterator[Video]:
    """The listed videos with their files in `20bn-something-something-v2/` or anywhere below it."""
    root = raw / VIDEOS_FOLDER if (raw / VIDEOS_FOLDER).is_dir() else raw
    files = (path for path in map(Path, files_below(root, EXTENSIONS)) if path.stem.isdecimal())
    paths = one_each(((path.stem, path) for path in files), SUFFIX)
    if not paths:
        raise FileNotFoundError(
            f"no video file <id>{SUFFIX} in {root}: unpack the 20bn-something-something-v2-?? parts there, e.g. "
            f"cat 20bn-something-something-v2-?? | tar zx ({SPEC.source}); {contents(raw)}"
        )
    return located(listing(raw), paths)
