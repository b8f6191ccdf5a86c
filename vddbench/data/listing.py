"""The videos that a dataset's lists name, and those on the disk: where each one is, which are missing, which are too many.

Everything here takes time and memory in proportion to the number of videos, a quarter of a million in Kinetics.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vddbench.spec import DatasetSpec, Video
from vddbench.system.progress import say

ABSENT = "not there"  # why a listed video is not in the store, for problems.csv
MAX_DEPTH = 64  # of folders in folders; Python 3.11 walks them recursively
MAX_LIST_BYTES = 256 * 10**6  # of an official list; the largest, Something-Something's train.json, has some 20 MB


def by_id(videos: Iterable[Video]) -> dict[str, Video]:
    """Train before test, sorted by id, which is their order in `frames.bin`: a train split is its beginning and can't reach
    a test frame. Raises ValueError when two videos have one id.
    """
    listed: dict[str, Video] = {}
    for video in sorted(videos, key=lambda v: (SPLITS.index(v.split), v.id)):
        if (other := listed.get(video.id)) is not None:
            if other.path == video.path:
                raise ValueError(f"the list names video {video.id} twice; remove one of its lines")
            raise ValueError(f"two files are video {video.id}: {other.path} and {video.path}; remove one")
        listed[video.id] = video
    return listed


def check_listed(
    name: str, spec: DatasetSpec, videos: dict[str, Video], absent: Iterable[str], unlisted: Iterable[str]
) -> None:
    """Before anything is decoded: a pinned dataset's videos are all there, and no others; where videos may be missing, the
    lists don't name too many, and every class has some.

    Raises ValueError naming the first ten that are missing or too many.
    """
    if spec.num_videos is None:
        return
    missing, extra = sorted(absent), sorted(unlisted)
    listed = Counter(video.split for video in videos.values())
    if spec.num_missing is not None:
        counts = ", ".join(f"{listed[split]:,} of {count:,} {split} videos" for split, count in spec.num_videos.items())
        if not listed <= Counter(spec.num_videos):
            raise ValueError(f"the lists of {name} are not the official ones: they name {counts}")
        if listed < Counter(spec.num_videos):
            say(f"warning: the lists name {counts}; the others count as missing. Are there longer lists?", style="yellow")
        away = set(missing)
        there = (video for video in videos.values() if video.id not in away)
        check_splits(name, spec, there, "existing", f"{len(missing):,} of {len(videos):,} listed videos are not there")
        return
    found = listed - Counter(videos[video].split for video in missing)
    if found == spec.num_videos and not missing and not extra:
        return
    message = ", ".join(f"{found[split]:,} of {count:,} {split} videos" for split, count in spec.num_videos.items())
    for title, ids in (("missing", missing), ("unexpected", extra)):
        if ids:
            message += f"; {len(ids):,} {title}: {', '.join(ids[:10])}" + (", ..." if len(ids) > 10 else "")
    raise ValueError(f"{name} is pinned, found {message}. Complete the copy and run again")


def located(listing: Iterable[Video], paths: Mapping[str, Path]) -> Iterator[Video]:
    """The listed videos with their paths; those that have none stay without."""
    return (replace(video, path=paths.get(video.id)) for video in listing)


def one_each(files: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Video id -> its file. Raises ValueError when a video has two."""
    paths: dict[str, Path] = {}
    for video, path in files:
        if (other := paths.setdefault(video, path)) is not path:
            raise ValueError(f"two files are video {video}: {other} and {path}; remove one")
    return paths


def sizes(videos: Mapping[str, Video]) -> dict[str, int]:
    """Video id -> bytes of its file or its frames' files, of those that are there. A link to nowhere is not."""
    found: dict[str, int] = {}
    for video in videos.values():
        if video.path is not None:
            with suppress(FileNotFoundError):
                found[video.id] = size_of(video.path)
    return found


def size_of(path: Path) -> int:
    """Bytes of a file or of the files in a folder; 0 when that can't be read: decoding will say why. Raises
    FileNotFoundError.
    """
    try:
        status = path.stat()
        is_folder = stat.S_ISDIR(status.st_mode)
        return sum(entry.stat().st_size for entry in os.scandir(path)) if is_folder else status.st_size
    except FileNotFoundError:
        raise
    except OSError:  # no permission, links in circles
        return 0


def files_below(folder: Path, suffix: str) -> Iterator[str]:
    """The files of all folders below, folder by folder in sorted order. Links to folders are followed, but every folder is
    read once: links may lead in circles. A folder that can't be read is said, and one that lies too deep; their files are
    then not there.
    """
    seen: set[tuple[int, int]] = set()
    top = os.fspath(folder).count(os.sep)
    for where, folders, names in os.walk(folder, followlinks=True, onerror=warn_of_folder):
        status = Path(where).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        if folders and where.count(os.sep) - top >= MAX_DEPTH:
            say(f"warning: the folders in {where[:200]}... lie too deep; their files are left out", style="yellow")
            folders.clear()
        folders.sort()
        yield from (f"{where}/{name}" for name in sorted(names) if name.lower().endswith(suffix))


def read_list(path: Path) -> str:
    """The text of an official list. Raises ValueError when it is too large for one, or no UTF-8."""
    if (size := path.stat().st_size) > MAX_LIST_BYTES:
        raise ValueError(f"{path} has {size:,} bytes; at most {MAX_LIST_BYTES:,} are read")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}); take it from the distributor again") from None


def with_validation(spec: DatasetSpec, videos: list[Video]) -> DatasetSpec:
    """The spec, with a pinned fifth of the listed groups held out where it names none."""
    if spec.validation_groups or not any(video.group for video in videos):
        return spec
    return spec.model_copy(update={"validation_groups": validation_groups(videos)})


SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Also of links; one that leads in circles is none."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def warn_of_folder(error: OSError) -> None:
    say(f"warning: cannot read the folder {error.filename} ({error.strerror}); its files are left out", style="yellow")


def validation_groups(videos: list[Video]) -> tuple[str, ...]:
    """A pinned fifth of the training groups (in the order of their names' sha256), leaving out a group when a class would
    keep no training video; () when that cannot be done: then prepare takes a fifth of each class.
    """
    train = [v for v in videos if v.split == "train"]
    of_group: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for video in train:
        if video.group:
            of_group[video.group][video.label] += 1
    left = Counter(v.label for v in train)
    wanted = -(-len(of_group) // 5)
    chosen: list[str] = []
    for group in sorted(of_group, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if len(chosen) < wanted and all(left[label] > n for label, n in of_group[group].items()):
            left -= of_group[group]
            chosen.append(group)
    return tuple(sorted(chosen))


def check_splits(name: str, spec: DatasetSpec, videos: Iterable[Video], which: str, hint: str) -> None:
    """Refuses videos that leave a class without one to train on, or nothing to test on."""
    trained, tested = set(), False
    for video in videos:
        if video.split == "train":
            trained.add(video.label)
        else:
            tested = True
    lacking = [class_name for label, class_name in enumerate(spec.class_names) if label not in trained]
    if lacking:
        raise ValueError(f"no {which} training video in {', '.join(lacking[:10])}; {hint}")
    if not tested:
        raise ValueError(f"no {which} test video in {name}; {hint}")
