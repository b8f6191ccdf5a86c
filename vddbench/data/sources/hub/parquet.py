"""Videos in parquet files of a repo on the Hub: a `Video` column as `datasets` writes it, or bytes beside a name.

Only what is asked for is transferred, by ranges: first the names (kilobytes), then each row group's videos, in the order of the
files, for no digest depends on the order in `frames.bin`. So a row group comes once, or twice when it has videos of train and
of test; one of them at a time is in memory, and two are on the disk: the one that is decoded, and the next.
"""

from __future__ import annotations

import io
import threading
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq

from vddbench import hub
from vddbench.data.sources.hub.ahead import Traffic, ahead
from vddbench.data.sources.hub.shard import MAX_FOOTER_BYTES, MAX_ROW_GROUP_BYTES, Columns, Shard, columns_of
from vddbench.data.sources.hub.standins import MAX_PATH_BYTES
from vddbench.spec import Video
from vddbench.system.home import check_space
from vddbench.system.progress import bar

MAX_ROWS = 400_000  # of all shards; Kinetics-400 has 266,440 videos
MAX_SHARDS = 20_000  # it has some 400 GB, shards have 500 MB
AT_ONCE = 8  # requests for footers and names
GROUPS_AT_ONCE = 32  # whose names one thread asks for
GROUPS_ON_DISK = 2


@dataclass(frozen=True)
class Place:
    """Where a video lies."""

    shard: int
    group: int
    row: int


class HubParquet:
    """A Source. `names()` first says what is there; `places` is then set to video id -> its place."""

    keep = False

    def __init__(self, repo: hub.Repo, sha: str, files: Mapping[str, hub.Remote]) -> None:
        if len(files) > MAX_SHARDS:
            raise ValueError(f"{repo} has {len(files):,} parquet files; at most {MAX_SHARDS:,} are read")
        self.repo, self.sha, self.paths, self.remotes = repo, sha, list(files), list(files.values())
        self.traffic, self.places, self.one = Traffic(), dict[str, Place](), threading.Lock()
        self.footers: list[pq.FileMetaData] = []
        self.columns: Columns

    def where(self, shard: int) -> str:
        return f"{self.repo}: {self.paths[shard][:200]}"

    def shard(self, number: int) -> Shard:
        def read(begin: int, end: int) -> bytes:
            out = io.BytesIO()
            hub.copy(self.repo, self.paths[number], self.sha, begin, end, out, self.traffic.came)
            return out.getvalue()

        footer = self.footers[number] if number < len(self.footers) else None
        return Shard(self.where(number), self.remotes[number].size, read, footer)

    def names(self) -> Iterator[tuple[str, Place]]:
        """The name of every row. Raises ValueError for a row without one, or too many rows."""
        self.read_footers()
        self.columns = columns_of(self.shard(0))
        parts = [
            (number, range(first, min(first + GROUPS_AT_ONCE, footer.num_row_groups)))
            for number, footer in enumerate(self.footers)
            for first in range(0, footer.num_row_groups, GROUPS_AT_ONCE)
        ]
        calls = ((partial(self.names_of, number, groups), 1) for number, groups in parts)
        with bar("reading names", len(parts)) as progress:
            for (number, groups), found in zip(parts, ahead(calls, AT_ONCE, AT_ONCE, self.traffic), strict=True):
                for group, names in zip(groups, found, strict=True):
                    for row, name in enumerate(names):
                        yield name, Place(number, group, row)
                progress.advance(note=self.note().removeprefix(", "))

    def read_footers(self) -> None:
        self.traffic.stopped = False
        calls = ((partial(self.shard, number), 1) for number in range(len(self.paths)))
        rows = size = 0
        footers: list[pq.FileMetaData] = []
        with bar("reading footers", len(self.paths)) as progress:
            for number, shard in enumerate(ahead(calls, AT_ONCE, AT_ONCE, self.traffic)):
                rows, size = rows + shard.num_rows, size + shard.metadata.serialized_size
                if rows > MAX_ROWS or size > MAX_FOOTER_BYTES:
                    raise ValueError(
                        f"{self.where(number)}: {rows:,} rows so far, in footers of {size:,} bytes; read are at most "
                        f"{MAX_ROWS:,} rows and {MAX_FOOTER_BYTES:,} bytes"
                    )
                footers.append(shard.metadata)
                progress.advance()
        self.footers = footers

    def names_of(self, number: int, groups: range) -> list[list[str]]:
        """The names in some row groups of a shard."""
        shard, found = self.shard(number), []
        for group in groups:
            names = shard.names(group, self.columns.name)
            wrong = [row for row, name in enumerate(names) if not name or len(name) > MAX_PATH_BYTES]
            if wrong:
                raise ValueError(
                    f"{self.where(number)}: row {wrong[0]} of row group {group} has no name in {self.columns.name}, or one of "
                    f"more than {MAX_PATH_BYTES} letters"
                )
            found.append([name for name in names if name])
        return found

    def sizes(self, videos: Mapping[str, Video]) -> dict[str, int]:
        """Of 0 bytes: no index says more before they are read."""
        return {video: 0 for video in videos if video in self.places}

    def files(self, videos: list[Video], folder: Path) -> Generator[tuple[Video, Path]]:
        """Train, then test, each in the order of the shards."""
        folder.mkdir()
        self.traffic.stopped = False
        groups: defaultdict[tuple[bool, int, int], list[Video]] = defaultdict(list)
        for video in videos:
            place = self.places[video.id]
            groups[video.split == "test", place.shard, place.group].append(video)
        calls = ((self.call(folder / "-".join(map(str, key)), *key[1:], groups[key]), 1) for key in sorted(groups))
        for found in ahead(calls, GROUPS_ON_DISK, GROUPS_ON_DISK, self.traffic):
            yield from found

    def call(self, folder: Path, shard: int, group: int, videos: Sequence[Video]) -> Callable[[], list[tuple[Video, Path]]]:
        return partial(self.unpacked, folder, shard, group, {self.places[video.id].row: video for video in videos})

    def unpacked(self, folder: Path, number: int, group: int, wanted: Mapping[int, Video]) -> list[tuple[Video, Path]]:
        """The wanted videos (by row) of a row group as files, in the order of its rows."""
        shard = self.shard(number)
        check_space(folder.parent, shard.unpacked_bytes(group, self.columns.video))
        folder.mkdir()
        found: list[tuple[Video, Path]] = []
        total = 0
        with self.one:
            for row, value in enumerate(shard.values(group, self.columns.video, MAX_ROW_GROUP_BYTES)):
                if (video := wanted.get(row)) is None:
                    continue
                content = value.as_buffer() if value.is_valid else b""  # none: "empty file" among the unreadable ones
                total += len(content)
                if total > MAX_ROW_GROUP_BYTES:  # one value of a dictionary may be every row's
                    raise ValueError(
                        f"{self.where(number)}: row group {group} unpacks to more than {MAX_ROW_GROUP_BYTES:,} bytes"
                    )
                path = folder / f"{row}{PurePosixPath(str(video.path)).suffix}"
                path.write_bytes(content)
                found.append((video, path))
        if len(found) != len(wanted):
            raise ValueError(f"{self.where(number)}: row group {group} has fewer videos than names")
        return found

    def note(self) -> str:
        return f", {self.traffic.bytes / 1e6:,.1f} MB fetched"
