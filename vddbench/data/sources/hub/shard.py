"""One parquet file, of which only parts are here: its footer, then a column of a row group at a time, value by value.

Files are a stranger's. What a column would unpack to is bounded before it is unpacked: by the footer, which may lie, and by the
headers of its pages, which can't (pages.py); arrow only reads what was looked at.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from vddbench.data.sources.hub.pages import check_pages

MAX_ROW_GROUP_BYTES = 160 * 10**6  # of a row group's videos, unpacked: up to three times in memory. `datasets` writes 100 MB
MAX_NAMES_BYTES = 16 * 10**6  # of a row group's names
MAX_FOOTER_BYTES = 32 * 10**6
FIRST_READ_BYTES = 64 * 1024  # of a file's end: most footers
NAMES = (
    "path", "file_name", "filename", "video_path", "video_id", "video_name", "name", "file", "id", "key", "__key__",
)  # fmt: skip
NEEDED = (
    "needed are a column of videos (datasets' Video, or binary) and one that names each video's file as the distributor does: "
    f"the path in the Video column, or {', '.join(NAMES)}"
)
Read = Callable[[int, int], bytes]  # the bytes from begin to end (excluded)


class Window(io.RawIOBase):
    """A file of `size` bytes of which pyarrow finds those that are held, and no others."""

    def __init__(self, size: int) -> None:
        self.size, self.at, self.held, self.held_from = size, 0, b"", 0

    def hold(self, begin: int, content: bytes) -> None:
        self.held, self.held_from = content, begin

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.size}[whence]
        return self.at

    def read(self, size: int = -1) -> bytes:
        first = self.at - self.held_from
        end = len(self.held) if size < 0 else min(first + size, self.size - self.held_from)
        if first < 0 or end > len(self.held):
            raise ValueError("it has parts in unexpected places")
        self.at += max(0, end - first)
        return self.held[first:end]  # no copy when it is the whole


@dataclass(frozen=True)
class Columns:
    """Dotted names of leaves: `video.bytes` and `video.path`, or `clip` and `file_name`."""

    video: str
    name: str


class Shard:
    """where: of messages. read: fetches a part. metadata: the footer, when it was read before. Raises ValueError saying what is
    wrong with the file, and what `read` raises."""

    def __init__(self, where: str, size: int, read: Read, metadata: pq.FileMetaData | None = None) -> None:
        self.where, self.read = where, read
        self.window = Window(size)
        if metadata is None:
            self.hold_footer(size)
        with self.readable():
            self.parquet = pq.ParquetFile(self.window, metadata=metadata, pre_buffer=False, buffer_size=0)
            self.metadata: pq.FileMetaData = self.parquet.metadata
            self.schema: pa.Schema = self.parquet.schema_arrow
            self.num_groups, self.num_rows = int(self.metadata.num_row_groups), int(self.metadata.num_rows)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Around what arrow does."""
        try:
            yield
        except (pa.ArrowException, OSError, ValueError) as error:
            reason = str(error).partition("\n")[0][:300]
            raise ValueError(f"{self.where} can't be read as parquet: {reason}") from None

    def hold_footer(self, size: int) -> None:
        begin = max(0, size - FIRST_READ_BYTES)
        end = self.read(begin, size)
        length = int.from_bytes(end[-8:-4], "little") + 8
        if end[-4:] != b"PAR1" or length > min(size, MAX_FOOTER_BYTES):
            raise ValueError(f"{self.where} does not end as a parquet file, or with a footer of more than {MAX_FOOTER_BYTES:,}")
        if length > len(end):
            begin = size - length
            end = self.read(begin, size)
        self.window.hold(begin, end)

    def values(self, group: int, leaf: str, most: int) -> Iterator[pa.Scalar]:
        """A column of a row group: arrow never has more than one value beside the column as it lies in the file."""
        self.hold_column(group, leaf, most)
        names = [leaf] if leaf in self.schema.names else leaf.split(".")
        with self.readable():
            for batch in self.parquet.iter_batches(batch_size=1, row_groups=[group], columns=[leaf], use_threads=False):
                column = batch.column(0)
                yield (column.field(names[1]) if len(names) > 1 else column)[0]

    def column(self, group: int, leaf: str) -> pq.ColumnChunkMetaData:
        row_group = self.metadata.row_group(group)
        for i in range(row_group.num_columns):
            if (chunk := row_group.column(i)).path_in_schema == leaf:
                return chunk
        raise ValueError(f"{self.where} has no column {leaf[:100]!r}, which the first file has")

    def unpacked_bytes(self, group: int, leaf: str) -> int:
        """As the footer says."""
        with self.readable():
            chunk = self.column(group, leaf)
            return max(int(chunk.total_uncompressed_size), int(chunk.total_compressed_size))

    def hold_column(self, group: int, leaf: str, most: int) -> None:
        """Fetches it, and looks how large it would become."""
        if (unpacked := self.unpacked_bytes(group, leaf)) > most:
            raise ValueError(
                f"{self.where}: row group {group} has {unpacked:,} bytes of {leaf[:100]!r}; at most {most:,} are read: write "
                "smaller row groups, `datasets` writes 100 MB"
            )
        with self.readable():
            chunk = self.column(group, leaf)
            first, packed = chunk.data_page_offset, chunk.total_compressed_size
            if chunk.has_dictionary_page and 0 < chunk.dictionary_page_offset < first:
                first = chunk.dictionary_page_offset
            if first < 0 or packed < 0 or first + packed > self.window.size:
                raise ValueError("a column lies outside of the file")
        self.window.hold(0, b"")
        content = self.read(first, first + packed)
        with self.readable():
            check_pages(content, most)
        self.window.hold(first, content)

    def names(self, group: int, leaf: str) -> list[str | None]:
        return [None if (value := each.as_py()) is None else str(value) for each in self.values(group, leaf, MAX_NAMES_BYTES)]


def is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def columns_of(shard: Shard) -> Columns:
    """Which columns have the videos and their names. Raises ValueError naming those that are there."""
    found = video_columns(shard.schema)
    if len(found) == 1:
        video, names = next(iter(found.items()))
        for name in names:
            if shard.num_groups and None not in shard.names(0, name):
                return Columns(video, name)
    there = ", ".join(f"{each.name[:100]} ({str(each.type)[:100]})" for each in list(shard.schema)[:30])
    several = f"; {len(found)} columns may be the videos, name it 'video'" if len(found) > 1 else ""
    raise ValueError(f"{shard.where} has the columns {there}{several}; {NEEDED}")


def video_columns(schema: pa.Schema) -> dict[str, list[str]]:
    """Leaf of videos -> leaves that may name them, the likeliest first; only that of `video` where there are several."""
    texts = {each.name.lower(): each.name for each in schema if is_text(each.type)}
    beside = [texts[name] for name in NAMES if name in texts]
    found: dict[str, list[str]] = {}
    for each in schema:
        inner = {field.name: field.type for field in each.type} if pa.types.is_struct(each.type) else {}
        if is_bytes(inner.get("bytes", pa.null())):
            own = [f"{each.name}.path"] if is_text(inner.get("path", pa.null())) else []
            found[f"{each.name}.bytes"] = own + beside
        elif is_bytes(each.type):
            found[each.name] = beside
    only = {leaf: names for leaf, names in found.items() if leaf in {"video", "video.bytes"}}
    return only if len(found) > 1 and only else found
