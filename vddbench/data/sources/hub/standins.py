"""A repo's videos as a folder of stand-ins: files of the right names and sizes without content (sparse, an inode each).

So which videos are there, missing or too many is asked of datasets/NAME.py and folder.py, in their words and by their
rules for local files. The names may be a stranger's: none leaves the folder, and there are bounds.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vddbench.data.listing import MAX_LIST_BYTES
from vddbench.spec import Video

MAX_NAME_BYTES = 255  # of one part of a path, on most disks
MAX_PATH_BYTES = 1000
MAX_VIDEO_BYTES = 10**9  # a clip of minutes has some 100 MB
MAX_LISTS = 1000  # HMDB51's split 1 has 51
MAX_LISTS_BYTES = 2 * MAX_LIST_BYTES
LIST_DEPTH = 4  # folders below --raw


def check_path(path: str) -> None:
    """Raises ValueError for a path that could leave its folder, or that a disk or a terminal can't take."""
    parts = path.split("/")
    if not path.isprintable() or len(path.encode()) > MAX_PATH_BYTES or not all(map(is_name, parts)):
        raise ValueError(f"the name {path[:200]!r} is no file's below a folder, in printable letters and of a sane length")


def is_name(part: str) -> bool:
    return part not in {"", ".", ".."} and "\\" not in part and len(part.encode()) <= MAX_NAME_BYTES


class StandIns:
    """The folder, and what each of its files stands for. `where` names the repo in messages."""

    def __init__(self, folder: Path, where: str) -> None:
        self.folder, self.where = folder, where
        self.stands_for: dict[str, str] = {}
        self.made: set[str] = set()
        folder.mkdir(parents=True)

    def add(self, path: str, size: int, source: str) -> None:
        """A stand-in for `source`. Raises ValueError when it would be where another one is."""
        with self.new(path, source) as file:
            if not 0 <= size <= MAX_VIDEO_BYTES:
                raise ValueError(f"{self.where}: {source[:200]} has {size:,} bytes; at most {MAX_VIDEO_BYTES:,} are read")
            file.truncate(size)

    @contextmanager
    def new(self, path: str, source: str) -> Iterator[BinaryIO]:
        """A new file in the folder."""
        check_path(path)
        if (other := self.stands_for.setdefault(path, source)) is not source:
            raise ValueError(
                f"{self.where}: two files are {path}: {other[:200]} and {source[:200]}; the repo may have one only"
            )
        try:
            if (parent := path.rpartition("/")[0]) not in self.made:
                (self.folder / parent).mkdir(parents=True, exist_ok=True)
                self.made.add(parent)
            file = (self.folder / path).open("xb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):  # also on a disk where A.avi and a.avi are one
            raise ValueError(f"{self.where}: {source[:200]} is in the way of another file of nearly that name") from None
        with file:
            yield file

    def original(self, file: Path) -> str:
        """What a file in the folder stands for."""
        return self.stands_for[file.relative_to(self.folder).as_posix()]

    @contextmanager
    def named(self) -> Iterator[None]:
        """Errors speak of the repo, not of the folder."""
        try:
            yield
        except FileNotFoundError as error:
            raise FileNotFoundError(self.renamed(error)) from None
        except LookupError as error:
            raise LookupError(self.renamed(error)) from None
        except ValueError as error:
            raise ValueError(self.renamed(error)) from None

    def renamed(self, error: Exception) -> str:
        return str(error).replace(f"{self.folder}/", f"{self.where}: ").replace(str(self.folder), self.where)

    def add_lists(self, lists: Iterable[tuple[str, str, int]], write: Callable[[str, int, BinaryIO], object]) -> int:
        """Real copies of (path here, source, size), made by `write(source, size, file)`; returns how many."""
        found, total = list(lists), 0
        for path, source, size in found:
            total += size
            if len(found) > MAX_LISTS or size > MAX_LIST_BYTES or total > MAX_LISTS_BYTES:
                raise ValueError(
                    f"the lists are {len(found):,} files, {source[:200]} has {size:,} bytes; read are at most {MAX_LISTS:,} of "
                    f"{MAX_LIST_BYTES:,}, together {MAX_LISTS_BYTES:,}"
                )
            with self.new(path, source) as file:
                write(source, size, file)
        return len(found)


def list_path(pattern: re.Pattern[str], path: str) -> str | None:
    """The end of a path that is the path of a dataset's list, e.g. ucfTrainTestlist/testlist01.txt; None: it is no list."""
    match = re.fullmatch(rf"(?:.*?/)?(?P<list>{pattern.pattern})", path, pattern.flags)
    return match["list"] if match else None


def lists_below(pattern: re.Pattern[str], raw: Path) -> Iterator[tuple[str, str, int]]:
    """(path, file, size) of a dataset's lists in a local folder, which may be that of the lists itself."""
    for where, folders, names in os.walk(raw):
        folders.sort()
        if len(Path(where).relative_to(raw).parts) >= LIST_DEPTH:
            folders.clear()
        for name in sorted(names):
            file = Path(where, name)
            if path := list_path(pattern, f"{raw.resolve().name}/{file.relative_to(raw).as_posix()}"):
                yield path, str(file), file.stat().st_size


class ByClass:
    """Where the clips of a dataset belong that looks for them in folders of classes: `<class>/<file>`.

    The class is that of the nearest folder of a class's name, else of the one listed clip of the file's name, else the one in
    the file's name (the last, the longest: `draw_sword` is no `sword`); a file of no class is none of the dataset's.
    """

    def __init__(self, listing: Iterable[Video], class_names: tuple[str, ...]) -> None:
        self.names = {name.lower(): name for name in class_names}
        self.listed: dict[str, set[str]] = {}
        for video in listing:
            self.listed.setdefault(video.id.rpartition("/")[2].lower(), set()).add(class_names[video.label])

    def __call__(self, path: str) -> str | None:
        *folders, file = path.split("/")
        stem = PurePosixPath(file).stem
        by_folder = next((self.names[folder.lower()] for folder in reversed(folders) if folder.lower() in self.names), None)
        listed = self.listed.get(stem.lower(), set())
        chosen = by_folder or (next(iter(listed)) if len(listed) == 1 else class_in(stem, self.names))
        return f"{chosen}/{file}" if chosen else None


def class_in(stem: str, names: Mapping[str, str]) -> str | None:
    """The class that a clip's name has between underscores."""
    text = f"_{stem.lower()}_"
    ends = {name: text.rfind(f"_{name}_") + len(name) for name in names if f"_{name}_" in text}
    return names[max(ends, key=lambda name: (ends[name], len(name)))] if ends else None
