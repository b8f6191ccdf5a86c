"""Videos in parquet files of a dataset repo: a `Video` column as `datasets` writes it, or a column of bytes beside a name.

Only the parts that are needed are transferred: first the columns of names (kilobytes), then the videos, one row group at a time
in the order of the files; the digest does not depend on the order in `frames.bin`. A row group is fetched once, or twice if it
has videos of train and of test. One row group is in memory at a time; two are on disk: the one being decoded and the next one.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, TypeVar

import pyarrow.parquet as pq

from vddbench import hub
from vddbench.data.sources.hub.ahead import Traffic, ahead
from vddbench.data.sources.hub.shard import Columns, Shard, damage_explained
from vddbench.spec import Video
from vddbench.system.home import check_space
from vddbench.system.progress import bar

AT_ONCE = 8  # requests for footers and names
GROUPS_AT_ONCE = 32  # row groups whose names one thread fetches
GROUPS_ON_DISK = 2
T = TypeVar("T")


class Place(NamedTuple):
    """The place of a video: the number of the file, of the row group in the file, and of the row in the row group."""

    shard: int
    group: int
    row: int


class HubParquet:
    """A Source of videos in parquet files. Call `names()` first; then set `places`, video id -> its place."""

    keep = False

    def __init__(self, repo: hub.Repo, sha: str, files: Mapping[str, hub.Remote]) -> None:
        self.repo, self.sha, self.paths, self.remotes = repo, sha, list(files), list(files.values())
        self.traffic, self.places, self.in_memory = Traffic(), dict[str, Place](), threading.Lock()
        self.footers: list[pq.FileMetaData] = []
        self.columns: Columns

    def where(self, shard: int) -> str:
        return f"{self.repo}: {self.paths[shard][:200]}"

    def read(self, shard: int, use: Callable[[Shard], T]) -> T:
        """Calls `use` with an open parquet file. Raises ValueError if the file is damaged."""
        footer = self.footers[shard] if shard < len(self.footers) else None

        def parse(file: BinaryIO) -> T:
            with damage_explained(self.where(shard)):
                return use(Shard(self.where(shard), file, footer))

        return hub.read_remote(self.repo, self.paths[shard], self.sha, self.remotes[shard].size, parse)

    def names(self) -> Iterator[tuple[str, Place]]:
        """The name of every row. Raises ValueError if a row has none."""
        self.read_footers()
        self.columns = self.read(0, Shard.columns)
        parts = [
            (shard, range(first, min(first + GROUPS_AT_ONCE, footer.num_row_groups)))
            for shard, footer in enumerate(self.footers)
            for first in range(0, footer.num_row_groups, GROUPS_AT_ONCE)
        ]
        calls = ((partial(self.read, shard, partial(self.names_in, groups)), 1) for shard, groups in parts)
        with bar("reading names", len(parts)) as progress:
            for (shard, groups), names_of_groups in zip(parts, ahead(calls, AT_ONCE, AT_ONCE, self.traffic), strict=True):
                for group, names in zip(groups, names_of_groups, strict=True):
                    for row, name in enumerate(names):
                        yield name, Place(shard, group, row)
                progress.advance(note=self.note().removeprefix(", "))

    def names_in(self, groups: range, shard: Shard) -> list[list[str]]:
        names_of_groups = []
        for group in groups:
            names_of_groups.append(shard.names(group, self.columns.name))
            self.traffic.came(sum(map(len, names_of_groups[-1])))
        return names_of_groups

    def read_footers(self) -> None:
        self.traffic.stopped = False
        calls = ((partial(self.read, number, lambda shard: shard.footer), 1) for number in range(len(self.paths)))
        footers: list[pq.FileMetaData] = []
        with bar("reading footers", len(self.paths)) as progress:
            for footer in ahead(calls, AT_ONCE, AT_ONCE, self.traffic):
                self.traffic.came(footer.serialized_size)
                footers.append(footer)
                progress.advance()
        self.footers = footers

    def sizes(self, videos: Mapping[str, Video]) -> dict[str, int]:
        """The sizes are unknown (0) until the videos are read."""
        return {video: 0 for video in videos if video in self.places}

    def files(self, videos: list[Video], folder: Path) -> Generator[tuple[Video, Path]]:
        """Yields train, then test, each in the order of the parquet files."""
        folder.mkdir()
        self.traffic.stopped = False
        groups: defaultdict[tuple[bool, int, int], list[Video]] = defaultdict(list)
        for video in videos:
            place = self.places[video.id]
            groups[video.split == "test", place.shard, place.group].append(video)
        calls = ((self.call(folder / "-".join(map(str, key)), *key[1:], groups[key]), 1) for key in sorted(groups))
        for files in ahead(calls, GROUPS_ON_DISK, GROUPS_ON_DISK, self.traffic):
            yield from files

    def call(self, folder: Path, shard: int, group: int, videos: Sequence[Video]) -> Callable[[], list[tuple[Video, Path]]]:
        wanted = {self.places[video.id].row: video for video in videos}
        return lambda: self.read(shard, partial(self.unpack, folder, group, wanted))

    def unpack(self, folder: Path, group: int, wanted: Mapping[int, Video], shard: Shard) -> list[tuple[Video, Path]]:
        """Writes the wanted videos (by row) of a row group as files, in the order of its rows."""
        check_space(folder.parent, shard.row_group_bytes(group))
        folder.mkdir(exist_ok=True)  # it exists if an earlier attempt lost the connection
        files: list[tuple[Video, Path]] = []
        with self.in_memory:
            for row, value in enumerate(shard.values(group, self.columns.video)):
                content = value.as_buffer() if value.is_valid else b""  # null: "empty file" in problems.csv
                self.traffic.came(len(content))
                if (video := wanted.get(row)) is None:
                    continue
                path = folder / f"{row}{PurePosixPath(str(video.path)).suffix}"
                path.write_bytes(content)
                files.append((video, path))
        if len(files) != len(wanted):
            raise ValueError(f"{shard.where}: row group {group} has fewer videos than names")
        return files

    def note(self) -> str:
        return f", {self.traffic.bytes / 1e6:,.1f} MB fetched"
