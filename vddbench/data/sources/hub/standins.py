"""A repo's videos as a folder of stand-ins: sparse files with the right names and sizes but without content.

The rules of datasets/NAME.py and folder.py for local files are applied to them: they decide which videos exist, are missing or
are unexpected, and word the messages. No name in the repo can leave the folder.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from vddbench.spec import Video

MAX_NAME_BYTES = 255  # of one part of a path, on most disks
MAX_PATH_BYTES = 1000
LIST_DEPTH = 4  # folders below --raw


def check_path(path: str) -> None:
    """Raises ValueError for a path that could leave its folder, or that a disk or a terminal can't handle."""
    parts = path.split("/")
    if not path.isprintable() or len(path.encode()) > MAX_PATH_BYTES or not all(map(is_name, parts)):
        raise ValueError(
            f"the name {path[:200]!r} is not a relative path of printable letters with parts of at most {MAX_NAME_BYTES} bytes"
        )


def is_name(part: str) -> bool:
    return part not in {"", ".", ".."} and "\\" not in part and len(part.encode()) <= MAX_NAME_BYTES


class StandIns:
    """The folder of stand-ins, and the file of the repo that each of them represents. `where` names the repo in messages."""

    def __init__(self, folder: Path, where: str) -> None:
        self.folder, self.where = folder, where
        self.represents: dict[str, str] = {}
        self.made: set[str] = set()
        folder.mkdir(parents=True)

    def add(self, path: str, size: int, source: str) -> None:
        """Adds a stand-in for `source`. Raises ValueError if its path is taken."""
        with self.new(path, source) as file:
            file.truncate(size)

    @contextmanager
    def new(self, path: str, source: str) -> Iterator[BinaryIO]:
        """Opens a new file in the folder."""
        check_path(path)
        if (other := self.represents.setdefault(path, source)) is not source:
            raise ValueError(f"{self.where}: two files are {path}: {other[:200]} and {source[:200]}; allowed: one")
        try:
            if (parent := path.rpartition("/")[0]) not in self.made:
                (self.folder / parent).mkdir(parents=True, exist_ok=True)
                self.made.add(parent)
            file = (self.folder / path).open("xb")
        except (FileExistsError, NotADirectoryError, IsADirectoryError):  # also if the disk ignores case: A.avi, a.avi
            raise ValueError(
                f"{self.where}: {source[:200]} has nearly the name of another file, and both can't be stored"
            ) from None
        with file:
            yield file

    def original(self, file: Path) -> str:
        """The file of the repo that a file in the folder represents."""
        return self.represents[file.relative_to(self.folder).as_posix()]

    @contextmanager
    def named(self) -> Iterator[None]:
        """Replaces the folder in error messages by the repo."""
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
        """Writes real files for (path, source, size) with `write(source, size, file)`; returns how many."""
        files = list(lists)
        for path, source, size in files:
            with self.new(path, source) as file:
                write(source, size, file)
        return len(files)


def list_path(pattern: re.Pattern[str], path: str) -> str | None:
    """The end of `path` that is the path of a dataset's list, e.g. ucfTrainTestlist/testlist01.txt, or None."""
    match = re.fullmatch(rf"(?:.*?/)?(?P<list>{pattern.pattern})", path, pattern.flags)
    return match["list"] if match else None


def lists_below(pattern: re.Pattern[str], raw: Path) -> Iterator[tuple[str, str, int]]:
    """(path, file, size) of a dataset's lists in a local folder, which may be the lists' own folder."""
    for where, folders, names in os.walk(raw):
        folders.sort()
        if len(Path(where).relative_to(raw).parts) >= LIST_DEPTH:
            folders.clear()
        for name in sorted(names):
            file = Path(where, name)
            if path := list_path(pattern, f"{raw.resolve().name}/{file.relative_to(raw).as_posix()}"):
                yield path, str(file), file.stat().st_size


class ByClass:
    """Gives the path `<class>/<file>` of a clip, for datasets that look for their clips in folders of classes.

    The class is the name of the nearest folder that is a class, otherwise the class of the only listed clip with the file's
    name, otherwise the class that ends last in the file's name; if several end there, the longest (`draw_sword`, not `sword`).
    None for a file without a class, which is not part of the dataset.
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
    """The class that a clip's name contains between underscores, if several the last and longest one."""
    text = f"_{stem.lower()}_"
    ends = {name: text.rfind(f"_{name}_") + len(name) for name in names if f"_{name}_" in text}
    return names[max(ends, key=lambda name: (ends[name], len(name)))] if ends else None
