"""What the pages of a parquet column would unpack to, read from their headers before anything is unpacked.

A file of some kilobytes can hold pages of gigabytes, and its footer may say otherwise. Page headers are Thrift structs in the
compact protocol (https://github.com/apache/parquet-format, src/main/thrift/parquet.thrift: PageHeader).
"""

from __future__ import annotations

MAX_PAGES = 100_000  # of a column of a row group
UNPACKED, PACKED = 2, 3  # fields of PageHeader: bytes of a page with and without compression
STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(13)
MAX_DEPTH = 8  # of structs in each other; a PageHeader has 3


def check_pages(chunk: bytes, most: int) -> None:
    """Raises ValueError unless `chunk` is whole pages that unpack to at most so many bytes."""
    at = total = 0
    for _ in range(MAX_PAGES):
        if at == len(chunk):
            return
        try:
            fields, at = struct(chunk, at)
            at += natural(fields[PACKED])
            total += natural(fields[UNPACKED])
        except (IndexError, KeyError):
            raise ValueError("a page's header is broken") from None
        if at > len(chunk):
            raise ValueError("a page is longer than its column")
        if total > most:
            raise ValueError(f"a column of a row group unpacks to {total:,} bytes; at most {most:,} are read")
    raise ValueError(f"a column of a row group has more than {MAX_PAGES:,} pages")


def natural(number: int) -> int:
    if number < 0:
        raise ValueError("a page of a negative length")
    return number


def struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, int], int]:
    """Field number -> value of the integers of a Thrift struct, and where it ends."""
    if depth > MAX_DEPTH:
        raise ValueError("a page's header is too deep")
    fields: dict[int, int] = {}
    number = 0
    while (head := data[at]) != STOP:
        at += 1
        kind, step = head & 15, head >> 4
        if step:
            number += step
        else:
            number, at = zigzag(data, at)
        if kind in {I16, I32, I64}:
            fields[number], at = zigzag(data, at)
        else:
            at = skipped(data, at, kind, depth)
    return fields, at + 1


def skipped(data: bytes, at: int, kind: int, depth: int) -> int:
    """Where a value of this kind ends that is not asked for."""
    if kind in {TRUE, FALSE}:
        return at
    if kind == BYTE:
        return at + 1
    if kind == DOUBLE:
        return at + 8
    if kind == BINARY:
        length, at = varint(data, at)
        return at + length
    if kind == STRUCT:
        return struct(data, at, depth + 1)[1]
    raise ValueError("a page's header has a field that parquet doesn't have")  # lists, sets and maps


def varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise ValueError("a page's header has a number of more than 64 bits")


def zigzag(data: bytes, at: int) -> tuple[int, int]:
    value, at = varint(data, at)
    return (value >> 1) ^ -(value & 1), at
