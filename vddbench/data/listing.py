"""The videos that a dataset's lists name, compared with the files that exist: paths, missing videos, unexpected videos.

Everything here takes time and memory in proportion to the number of videos, a quarter of a million in Kinetics.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Literal

from vddbench.spec import DatasetSpec, Video
from vddbench.system.progress import say

EXTENSIONS = (".avi", ".mp4", ".webm", ".mkv", ".mov")  # of videos; decode.py reads no other containers
SPLITS: tuple[Literal["train", "test"], ...] = ("train", "test")
ABSENT = "not there"  # reason in problems.csv for a listed video without a file
MAX_LOOKED_AT = 100_000  # files that `contents` counts


def by_id(videos: Iterable[Video]) -> dict[str, Video]:
    """Id -> video, train before test, sorted by id. `frames.bin` has this order, so the train split is its beginning.

    Raises ValueError if two videos have the same id.
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
    """Checks the videos of a pinned dataset before anything is decoded.

    In a dataset that must be complete, exactly the pinned videos must exist. In a dataset that may lack videos, the lists must
    not name more than the pinned number, each class needs a training video and the dataset a test video. Raises ValueError; its
    message names the first ten missing and unexpected videos.
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
        missing_ids = set(missing)
        existing = (video for video in videos.values() if video.id not in missing_ids)
        check_splits(name, spec, existing, "existing", f"{len(missing):,} of {len(videos):,} listed videos are not there")
        return
    counted = listed - Counter(videos[video].split for video in missing)
    if counted == spec.num_videos and not missing and not extra:
        return
    counts = ", ".join(f"{counted[split]:,} of {count:,} {split} videos" for split, count in spec.num_videos.items())
    message = f"{name} must be complete, but {counts} were found"
    for title, ids in (("missing", missing), ("unexpected", extra)):
        if ids:
            message += f"; {len(ids):,} {title}: {', '.join(ids[:10])}" + (", ..." if len(ids) > 10 else "")
    raise ValueError(f"{message}. Complete the copy and run again")


def contents(folder: Path) -> str:
    """The kinds of files in a folder and below it, most frequent first, for the messages that refuse it."""
    examples: dict[str, str] = {}
    counts: Counter[str] = Counter()
    for file in itertools.islice(files_below(folder, ("",)), MAX_LOOKED_AT):
        path = Path(file)
        kind = path.suffix.lower()[:20] or path.name[:40]
        counts[kind] += 1
        examples.setdefault(kind, str(path.relative_to(folder)))
    if not counts:
        return f"{folder} holds no files"
    more = " at least" if counts.total() == MAX_LOOKED_AT else ""
    kinds = [f"{count:,} {kind} (e.g. {examples[kind]})" for kind, count in counts.most_common(4)]
    return f"{folder} holds{more} {counts.total():,} files: {', '.join(kinds)}"


def sizes(videos: Mapping[str, Video]) -> dict[str, int]:
    """Video id -> bytes of its file or of its frames' files. Leaves out missing videos, also those behind a dangling link."""
    sizes_of: dict[str, int] = {}
    for video in videos.values():
        if video.path is not None:
            with suppress(FileNotFoundError):
                sizes_of[video.id] = size_of(video.path)
    return sizes_of


def size_of(path: Path) -> int:
    """Bytes of a file or of the files in a folder; 0 if it can't be read: decoding will report that.

    Raises FileNotFoundError.
    """
    try:
        status = path.stat()
        is_folder = stat.S_ISDIR(status.st_mode)
        return sum(entry.stat().st_size for entry in os.scandir(path)) if is_folder else status.st_size
    except FileNotFoundError:
        raise
    except OSError:  # no permission, circular links
        return 0


def files_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[str]:
    """The files with one of these suffixes in all folders below `folder`, folder by folder in sorted order.

    Links to folders are followed, but every folder is read once, as links may be circular. Prints a warning for a folder that
    can't be read; its files are left out.
    """
    seen: set[tuple[int, int]] = set()
    for where, folders, names in os.walk(folder, followlinks=True, onerror=warn_of_folder):
        status = Path(where).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders.sort()
        yield from (f"{where}/{name}" for name in sorted(names) if name.lower().endswith(suffixes))


def read_list(path: Path) -> str:
    """The text of an official list. Raises ValueError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}); take it from the distributor again") from None


def with_validation(spec: DatasetSpec, videos: list[Video]) -> DatasetSpec:
    """The spec; if it names no validation groups, a pinned fifth of the listed groups is filled in."""
    if spec.validation_groups or not any(video.group for video in videos):
        return spec
    return spec.model_copy(update={"validation_groups": validation_groups(videos)})


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one; a circular link is not."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def warn_of_folder(error: OSError) -> None:
    say(f"warning: cannot read the folder {error.filename} ({error.strerror}); its files are left out", style="yellow")


def validation_groups(videos: list[Video]) -> tuple[str, ...]:
    """A pinned fifth of the training groups, in the order of the sha256 of their names.

    Skips a group without which a class would have no training video. () if there are no groups: `prepare` then holds out a
    fifth of each class.
    """
    train = [v for v in videos if v.split == "train"]
    labels_of_group: defaultdict[str, Counter[int]] = defaultdict(Counter)
    for video in train:
        if video.group:
            labels_of_group[video.group][video.label] += 1
    left = Counter(v.label for v in train)
    wanted = -(-len(labels_of_group) // 5)
    chosen: list[str] = []
    for group in sorted(labels_of_group, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if len(chosen) < wanted and all(left[label] > n for label, n in labels_of_group[group].items()):
            left -= labels_of_group[group]
            chosen.append(group)
    return tuple(sorted(chosen))


def check_splits(name: str, spec: DatasetSpec, videos: Iterable[Video], which: str, hint: str) -> None:
    """Raises ValueError if a class has no training video, or the dataset no test video."""
    trained, tested = set(), False
    for video in videos:
        if video.split == "train":
            trained.add(video.label)
        else:
            tested = True
    untrained = [class_name for label, class_name in enumerate(spec.class_names) if label not in trained]
    if untrained:
        raise ValueError(f"no {which} training video in {', '.join(untrained[:10])}; {hint}")
    if not tested:
        raise ValueError(f"no {which} test video in {name}; {hint}")
