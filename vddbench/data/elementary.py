"""Splits an elementary video stream, AV1 or H.264, into one packet per frame. Nothing is decoded here.

Only a plain form of either codec is accepted, so that the number of frames is known before decoding and every decoder that
follows the codec's specification makes the same pixels: no layers, one slice per picture, no auxiliary pictures. Units that
do not change decoded pixels (metadata, SEI messages, padding) are left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Codec = Literal["av1", "h264"]
START_CODE = b"\x00\x00\x01"

# AV1 bitstream specification, 6.2.2
TEMPORAL_DELIMITER, TILE_LIST = 2, 8
OBUS_KEPT = {1, TEMPORAL_DELIMITER, 3, 4, 6, 7}  # sequence and frame headers, tile groups, frames
MAX_LENGTH_BYTES = 8  # of a leb128 number, 4.10.5

# H.264 (ITU-T Rec. H.264), table 7-1
SLICES, PARAMETER_SETS = {1, 5}, {7, 8}
NALS_LEFT_OUT = {6, 9, 10, 11, 12}  # SEI, delimiter, end of sequence, end of stream, filler


class Packets(NamedTuple):
    """A stream, cut where its frames begin."""

    codec: Codec
    packets: list[bytes]


class BadStream(ValueError):
    """A stream that is refused. The message completes the sentence "this stream ..."."""


def split(data: bytes, frames: int) -> Packets:
    """Cuts a stream into one packet per frame.

    Raises BadStream unless it is AV1 (low-overhead OBUs, section 5) or H.264 (Annex B) and holds `frames` frames.
    """
    if data[:1] in {b"\x10", b"\x12"}:  # a temporal delimiter without and with a length
        codec: Codec = "av1"
        packets = temporal_units(data)
    elif re.match(rb"\x00+\x01", data) and START_CODE in data[:8]:
        codec, packets = "h264", pictures(data)
    else:
        raise BadStream(
            f"begins with the bytes {data[:4].hex(' ')}; allowed: AV1 that begins with a temporal delimiter (12 00; ffmpeg's "
            "format obu), or H.264 that begins with a start code (00 00 01; ffmpeg's format h264)"
        )
    if len(packets) != frames:
        raise BadStream(f"has {len(packets):,} frames; allowed: exactly {frames}")
    return Packets(codec, packets)


def temporal_units(data: bytes) -> list[bytes]:
    """The temporal units of AV1, each of which shows one frame, without metadata and padding. Raises BadStream."""
    units: list[bytearray] = []
    for kind, obu in _obus(data):
        if kind == TEMPORAL_DELIMITER:
            units.append(bytearray())
        if kind in OBUS_KEPT:
            units[-1] += obu
    return [bytes(unit) for unit in units]


def _obus(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(type, bytes with header) of each OBU."""
    at = 0
    while at < len(data):
        header = data[at]
        kind = header >> 3 & 15
        if header & 0x80 or not header & 0x02:
            raise BadStream(f"has an OBU without a length, or damage, at byte {at:,}; allowed: the low-overhead format")
        if header & 0x04 or kind == TILE_LIST:
            raise BadStream(f"has layers or a tile list (byte {at:,}); allowed: one layer, ordinary frames")
        length, body = _leb128(data, at + 1)
        if body + length > len(data):
            raise BadStream(f"is cut short: the OBU at byte {at:,} needs {body + length - len(data):,} more bytes")
        yield kind, data[at : body + length]
        at = body + length


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """The number at this byte, and the byte after it."""
    value = 0
    for i in range(MAX_LENGTH_BYTES):
        if at + i >= len(data):
            raise BadStream(f"is cut short in the length at byte {at:,}")
        value |= (data[at + i] & 0x7F) << 7 * i
        if not data[at + i] & 0x80:
            return value, at + i + 1
    raise BadStream(f"has a length of more than {MAX_LENGTH_BYTES} bytes at byte {at:,}")


def pictures(data: bytes) -> list[bytes]:
    """The pictures of H.264, each with the parameter sets before it. Raises BadStream."""
    packets: list[bytes] = []
    before = b""
    for nal in _nals(data):
        kind = nal[0] & 0x1F
        if nal[0] & 0x80 or kind not in SLICES | PARAMETER_SETS | NALS_LEFT_OUT:
            raise BadStream(f"has a NAL unit of type {kind}; allowed: slices (1, 5), parameter sets (7, 8) and 6, 9 to 12")
        if kind in PARAMETER_SETS:
            before += b"\x00" + START_CODE + nal
        elif kind in SLICES:
            if len(nal) == 1:
                raise BadStream(f"is cut short: frame {len(packets)} is empty")
            if not nal[1] & 0x80:  # first_mb_in_slice is ue(v): its code for 0 is the bit 1
                raise BadStream(f"has several slices in picture {len(packets)}; allowed: one (x264: slices=1)")
            packets.append(before + b"\x00" + START_CODE + nal)
            before = b""
    return packets


def _nals(data: bytes) -> Iterator[bytes]:
    """The NAL units between start codes, without the zeros that may follow them."""
    for nal in data.split(START_CODE)[1:]:
        if stripped := nal.rstrip(b"\x00"):
            yield stripped
