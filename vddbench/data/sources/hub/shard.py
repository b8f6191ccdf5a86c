"""One parquet file with videos, which may be damaged: which columns it has, and their values one by one.

The size in the footer is checked before a row group is read, and arrow unpacks one value at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

MAX_ROW_GROUP_BYTES = 160 * 10**6  # unpacked; memory holds it up to three times. `datasets` writes row groups of 100 MB
NAMES = (
    "path", "file_name", "filename", "video_path", "video_id", "video_name", "name", "file", "id", "key", "__key__",
)  # fmt: skip
NEEDED = (
    "needed: a column of videos (datasets' Video, or binary), and a column with the distributor's name of each video's file: "
    f"the path in the Video column, or {', '.join(NAMES)}"
)


class Columns(NamedTuple):
    """Dotted names of columns: `video.bytes` and `video.path`, or `clip` and `file_name`."""

    video: str
    name: str


@contextmanager
def damage_explained(where: str) -> Iterator[None]:
    """Turns what arrow raises for a damaged file into a ValueError; failures of the network and the disk pass through."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and (type(error) is not OSError or error.errno is not None):
            raise
        raise ValueError(f"{where} can't be read as parquet: {str(error).partition(chr(10))[0][:300]}") from None


class Shard:
    """An open parquet file, called `where` in messages."""

    def __init__(self, where: str, file: BinaryIO, footer: pq.FileMetaData | None = None) -> None:
        self.where = where
        self.parquet = pq.ParquetFile(file, metadata=footer, pre_buffer=False, page_checksum_verification=True)
        self.footer: pq.FileMetaData = self.parquet.metadata

    def values(self, group: int, column: str) -> Iterator[pa.Scalar]:
        """A column of a row group, value by value. Raises ValueError if it does not exist or the row group is too large."""
        self.row_group_bytes(group)
        outer, _, inner = (column, "", "") if column in self.parquet.schema_arrow.names else column.partition(".")
        for batch in self.parquet.iter_batches(batch_size=1, row_groups=[group], columns=[column], use_threads=False):
            if outer not in batch.schema.names:
                raise ValueError(f"{self.where} has no column {column[:100]!r}, which the first file has")
            values = batch.column(outer)
            yield (values.field(inner) if inner else values)[0]

    def row_group_bytes(self, group: int) -> int:
        """The size of a row group as the footer states it. Raises ValueError if it is too large.

        pyarrow 25 ends the process if it is asked for the size of a column in some damaged footers.
        """
        size = int(self.footer.row_group(group).total_byte_size)
        if size > MAX_ROW_GROUP_BYTES:
            raise ValueError(
                f"{self.where}: row group {group} has {size:,} bytes; allowed: {MAX_ROW_GROUP_BYTES:,}. Write smaller ones; "
                "those of `datasets` have 100 MB"
            )
        return size

    def names(self, group: int, column: str) -> list[str]:
        """A column of names. Raises ValueError if a row has none."""
        names: list[str] = []
        for row, value in enumerate(self.values(group, column)):
            name = str(value.as_py()) if value.is_valid else ""
            if not name:
                raise ValueError(f"{self.where}: row {row} of row group {group} has no name in {column}")
            names.append(name)
        return names

    def columns(self) -> Columns:
        """The columns of videos and of their names. If they are not clear, raises ValueError naming the existing columns."""
        schema = self.parquet.schema_arrow
        candidates = video_columns(schema)
        if len(candidates) == 1:
            video, names = next(iter(candidates.items()))
            for name in names:
                if self.footer.num_row_groups and all(value.is_valid for value in self.values(0, name)):
                    return Columns(video, name)
        existing = ", ".join(f"{field.name[:100]} ({str(field.type)[:100]})" for field in list(schema)[:30])
        several = f"; {len(candidates)} columns may be the videos, name it 'video'" if len(candidates) > 1 else ""
        raise ValueError(f"{self.where} has the columns {existing}{several}; {NEEDED}")


def video_columns(schema: pa.Schema) -> dict[str, list[str]]:
    """Column of videos -> columns that may name them, the likeliest first.

    If several columns have bytes and one of them is called `video`, only that one.
    """
    texts = {field.name.lower(): field.name for field in schema if is_text(field.type)}
    beside = [texts[name] for name in NAMES if name in texts]
    columns: dict[str, list[str]] = {}
    for field in schema:
        inner: dict[str, Any] = {part.name: part.type for part in field.type} if pa.types.is_struct(field.type) else {}
        if is_bytes(inner.get("bytes", pa.null())):
            own = [f"{field.name}.path"] if is_text(inner.get("path", pa.null())) else []
            columns[f"{field.name}.bytes"] = own + beside
        elif is_bytes(field.type):
            columns[field.name] = beside
    named_video = {column: names for column, names in columns.items() if column in {"video", "video.bytes"}}
    return named_video if len(columns) > 1 and named_video else columns


def is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_integer(kind))


def is_bytes(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
