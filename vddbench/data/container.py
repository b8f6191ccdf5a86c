"""Reads how many bytes a video file should have: AVI, Matroska and MP4 files state it in their outermost chunks."""

from __future__ import annotations

from typing import BinaryIO

MAX_BOXES = 100_000  # read from one mp4 file


def claimed_bytes(file: BinaryIO) -> int:
    """The byte position at which the outermost chunk with the frames ends; 0 if the container does not state it."""
    head = file.read(64)
    if head[:4] == b"RIFF":
        size = int.from_bytes(head[4:8], "little")
        return 0 if size == 0xFFFFFFFF else 8 + size
    if head[:4] == b"\x1a\x45\xdf\xa3":  # EBML: its header, then the Segment with everything else
        header_end = ebml_end(head, 4)
        if head[header_end : header_end + 4] == b"\x18\x53\x80\x67":
            return ebml_end(head, header_end + 4)
        return 0
    return box_end(file) if head[4:8] in {b"ftyp", b"mdat", b"moov", b"wide", b"free"} else 0


def ebml_end(head: bytes, at: int) -> int:
    """The end of the EBML element with its size field at byte `at`; 0 if it is unknown (live recordings)."""
    length = 9 - head[at].bit_length() if at < len(head) and head[at] else 9
    field = int.from_bytes(head[at : at + length], "big")
    size = field & ((1 << 7 * length) - 1)
    return 0 if length > 8 or size == (1 << 7 * length) - 1 else at + length + size


def box_end(file: BinaryIO) -> int:
    """The end of the last `mdat` or `moov` box of an mp4."""
    at, end = 0, 0
    for _ in range(MAX_BOXES):  # fragmented files have one box per fragment
        file.seek(at)
        head = file.read(16)
        size, kind = int.from_bytes(head[:4], "big"), head[4:8]
        if size == 1:
            size = int.from_bytes(head[8:16], "big")
        if size < 8 or len(head) < 8:  # size 0: the box reaches to the end of the file
            return end
        at += size
        if kind in {b"mdat", b"moov"}:
            end = at
    return end
